/** Every check of a client on what its coordinator says, one at a time: the attempt ends there, for that reason, and no later check has to see it. */
import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { bitmapOf } from '../../../shared/secure-aggregation/bitmap.ts';
import type { RosterEntry } from '../../../shared/secure-aggregation/messages.ts';
import { type Bend, bending, resigned, sentBy, withRoster } from './attacks.ts';
import { type CohortOptions, identityOf, runCohort } from './cohort.ts';

const other = 'cd'.repeat(32) as Digest;
const clientCount = 7;

/** Why the client at place 0 of the roster ends, and how many clients send the message that follows. */
function endOf(options: Partial<CohortOptions>, next: 'shares' | 'masked' | 'agree' | 'unmask') {
  const outcome = runCohort({ clientCount, ...options });
  const { clientId } = outcome.clients
    .map(({ identity }) => identity)
    .sort((left, right) => (left.clientId < right.clientId ? -1 : 1))[0]!;
  const { phase } = outcome.clients.find(({ identity }) => identity.clientId === clientId)!.state;
  return { reason: phase.name === 'aborted' ? phase.reason.detail : phase.name, sent: sentBy(outcome, next) };
}

describe('checks of a client, one at a time', () => {
  const entryOf = (change: (entry: RosterEntry) => RosterEntry): Bend =>
    withRoster((entries) => entries.map((entry, place) => (place === 2 ? change(entry) : entry)));
  const rosters: readonly [string, Partial<CohortOptions>, RegExp][] = [
    [
      'entries in another order',
      { bend: withRoster(([first, second, ...rest]) => [second!, first!, ...rest]) },
      /not in the order of client ids at place 1/,
    ],
    [
      'a client twice, with other keys',
      {
        bend: withRoster((entries) => [
          ...entries,
          resigned(entries.at(-1)!, { boxKey: identityOf(9).publicKey, maskKey: identityOf(10).publicKey }),
        ]),
      },
      /not in the order of client ids at place 7/,
    ],
    [
      'too few organisations',
      {
        organisationOf: (index) => `org ${index % 2}`,
        setting: { organisationCountMin: 3 },
        serverSetting: { organisationCountMin: 1 },
      },
      /expected clients of 3 organisations, found 2/,
    ],
    ['words that are none', { bend: entryOf((entry) => ({ ...entry, advert: utf8('keys') })) }, /M1: /],
    [
      'a nonce where there are no groups',
      { bend: entryOf((entry) => resigned(entry, { draw: other })) },
      /a nonce is committed to exactly where there are groups/,
    ],
    [
      "the key of somebody else, which signed under the client's name",
      {
        bend: entryOf((entry) => {
          const { publicKey, sign } = identityOf(9);
          return { ...entry, publicKey, signature: sign('ADVERT', entry.advert) };
        }),
      },
      /place 2: the public key is not that of the client/,
    ],
    [
      'the certificate of another member',
      { bend: entryOf((entry) => ({ ...entry, certificate: utf8('org 9') })) },
      /place 2: the certificate is not the one that the client named/,
    ],
    [
      'the same key of a box twice',
      {
        bend: withRoster((entries) => {
          const twin = { boxKey: identityOf(9).publicKey };
          return entries.map((entry, place) => (place === 2 || place === 3 ? resigned(entry, twin) : entry));
        }),
      },
      /two clients have the same boxKey/,
    ],
  ];
  for (const [index, [what, options, reason]] of rosters.entries()) {
    it(`[ONE-${index + 1}] R1: ${what}`, () => {
      const ended = endOf(options, 'shares');
      assert.match(ended.reason, reason);
      assert.equal(ended.sent, 0);
    });
  }

  /** Boxes of some places alone, as if nobody else had dealt. */
  const dealersAre = (keep: (place: number) => boolean): Bend =>
    bending('delivery', ({ delivery }) => ({
      type: 'delivery',
      delivery: {
        ...delivery,
        dealers: bitmapOf([...Array(clientCount).keys()].filter(keep), clientCount),
        boxes: delivery.boxes.filter(({ dealer }) => keep(dealer)),
      },
    }));
  const deliveries: readonly [string, Partial<CohortOptions>, RegExp][] = [
    ['fewer dealers than open a secret', { bend: dealersAre((place) => place < 4) }, /expected 5 dealers, .* found 4/],
    [
      'fewer dealers than the site demands',
      { bend: dealersAre((place) => place < 5), setting: { clientCountMin: 6 }, serverSetting: { clientCountMin: 3 } },
      /expected 6 dealers, .* found 5/,
    ],
    [
      'a site that is not among the dealers',
      { bend: dealersAre((place) => place > 0) },
      /expected 5 dealers, this client among them, found 6/,
    ],
    [
      'boxes of another roster',
      { bend: bending('delivery', (event) => ({ ...event, delivery: { ...event.delivery, rosterHash: other } })) },
      /the boxes are of another roster/,
    ],
    [
      'a box too few',
      {
        bend: bending('delivery', (event) => ({
          ...event,
          delivery: { ...event.delivery, boxes: event.delivery.boxes.slice(1) },
        })),
      },
      /one box of every dealer/,
    ],
  ];
  for (const [index, [what, options, reason]] of deliveries.entries()) {
    it(`[ONE-${index + 11}] R2: ${what}`, () => {
      const ended = endOf(options, 'masked');
      assert.match(ended.reason, reason);
      assert.ok(ended.sent < clientCount, 'who was told so masks nothing');
    });
  }

  const survivorsAre = (places: readonly number[], changes: object = {}): Bend =>
    bending('survivors', ({ survivors }) => ({
      type: 'survivors',
      survivors: { ...survivors, survivors: bitmapOf(places, clientCount), ...changes },
    }));
  const all = [...Array(clientCount).keys()];
  const survivors: readonly [string, Partial<CohortOptions>, RegExp][] = [
    ['survivors of another roster', { bend: survivorsAre(all, { rosterHash: other }) }, /of another roster/],
    ['fewer than open a secret', { bend: survivorsAre(all.slice(0, 4)) }, /at least 5 survivors, found 4/],
    ['a site that is not among them', { bend: survivorsAre(all.slice(1)) }, /this client is not among the survivors/],
    [
      'one who dealt no shares',
      {
        // Two of seven may vanish; whoever sorts last did, before it dealt.
        vanishing: new Map([
          [
            [...all].sort((left, right) => (identityOf(left).clientId < identityOf(right).clientId ? -1 : 1)).at(-1)!,
            'SHARES' as const,
          ],
        ]),
        bend: survivorsAre(all),
      },
      /place 6 survived without dealing shares/,
    ],
  ];
  for (const [index, [what, options, reason]] of survivors.entries()) {
    it(`[ONE-${index + 21}] R3: ${what}`, () => {
      const ended = endOf(options, 'agree');
      assert.match(ended.reason, reason);
      assert.ok(ended.sent < clientCount, 'who was told so consents to nothing');
    });
  }

  it('[ONE-31] R4: consents to other survivors than the own', () => {
    const bend = bending('quorum', ({ quorum }) => ({ type: 'quorum', quorum: { ...quorum, survivorsHash: other } }));
    const ended = endOf({ bend }, 'unmask');
    assert.match(ended.reason, /the consents are to other survivors/);
    assert.equal(ended.sent, 0);
  });
});
