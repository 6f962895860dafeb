/** Every check of the coordinator's machine on what a client says, one at a time: refused for that reason, and nothing changes. */
import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { decodeCanonical, encodeCanonical, type Format } from '../../../shared/protocol/canonical.ts';
import type { SignedKind } from '../../../shared/secure-aggregation/client-state.ts';
import {
  advertFormat,
  agreeFormat,
  maskedFormat,
  sharesFormat,
  unmaskFormat,
} from '../../../shared/secure-aggregation/messages.ts';
import type { ServerEvent, ServerState } from '../../../shared/secure-aggregation/server-state.ts';
import { productionMachines } from '../../../simulations/world/machines.ts';
import { identityOf, runCohort } from './cohort.ts';

const clientCount = 5;
const other = 'cd'.repeat(32) as Digest;
const stranger = identityOf(9);
const { receiveAsServer } = productionMachines;
type Said = Extract<ServerEvent, { readonly clientId: unknown }>;

/** A message with other words, signed by whoever sent it. */
function reworded<Body>(event: Said, kind: SignedKind, format: Format<Body>, change: (body: Body) => object): Said {
  const decoded = decodeCanonical(format, event.body, kind);
  assert.ok(decoded.ok);
  const body = encodeCanonical(format, { ...decoded.value, ...change(decoded.value) } as Body);
  const owner = [...Array(clientCount).keys()].map(identityOf).find(({ clientId }) => clientId === event.clientId)!;
  return { ...event, body, signature: owner.sign(kind, body) } as Said;
}

/** Why a message is refused that takes the place of the first, or follows it, of a type. */
function refusalOf(type: Said['type'], change: (event: Said) => Said, when: 'instead' | 'after'): string {
  let found: string | null = null;
  const judge = (state: ServerState, event: Said): void => {
    const step = receiveAsServer(state, event);
    const [effect] = step.effects;
    if (effect?.type !== 'reject') found = 'taken';
    else {
      assert.equal(step.state, state, 'what is refused changes nothing');
      found = `${effect.reason.code}: ${effect.reason.detail}`;
    }
  };
  runCohort({
    clientCount,
    machines: {
      ...productionMachines,
      receiveAsServer: (state, event) => {
        const isFirst = found === null && event.type === type;
        if (isFirst && when === 'instead') judge(state, change(event as Said));
        const step = receiveAsServer(state, event);
        if (isFirst && when === 'after') judge(step.state, change(event as Said));
        return step;
      },
    },
  });
  assert.ok(found !== null);
  return found;
}

describe('checks of the coordinator, one at a time', () => {
  const flip =
    <Body extends { readonly place: number }>(format: Format<Body>, kind: SignedKind) =>
    (event: Said): Said =>
      reworded(event, kind, format, ({ place }) => ({ place: (place + 1) % clientCount }));
  const rosterOf =
    <Body>(format: Format<Body>, kind: SignedKind) =>
    (event: Said): Said =>
      reworded(event, kind, format, () => ({ rosterHash: other }));
  const foreign = (event: Said): Said => ({ ...event, clientId: stranger.clientId });
  const unsigned = (event: Said): Said => ({ ...event, signature: new Uint8Array(64).fill(1) });
  const garbage =
    (kind: SignedKind) =>
    (event: Said): Said => {
      const body = utf8('words');
      const owner = [...Array(clientCount).keys()].map(identityOf).find(({ clientId }) => clientId === event.clientId)!;
      return { ...event, body, signature: owner.sign(kind, body) } as Said;
    };
  const cases: readonly [string, Said['type'], (event: Said) => Said, 'instead' | 'after', RegExp][] = [
    ['M1 of a client that was not asked', 'advert', foreign, 'instead', /^not-in-cohort/],
    ['M1 that is not signed', 'advert', unsigned, 'instead', /^bad-roster: .*not signed/],
    [
      'M1 of one client under the name of another',
      'advert',
      (event) => ({
        ...event,
        clientId: [...Array(clientCount).keys()].map(identityOf).find(({ clientId }) => clientId !== event.clientId)!
          .clientId,
      }),
      'instead',
      /^wrong-sender: the keys are of another client/,
    ],
    [
      'M1 with other keys after the first',
      'advert',
      (event) => reworded(event, 'ADVERT', advertFormat, () => ({ boxKey: stranger.publicKey })),
      'after',
      /^conflicting-update: this client sent other keys before/,
    ],
    ['M2 of nobody on the roster', 'shares', foreign, 'instead', /^not-in-cohort: .*not on the roster/],
    ['M2 that is not signed', 'shares', unsigned, 'instead', /^wrong-signature/],
    ['M2 that are no words', 'shares', garbage('SHARES'), 'instead', /^bad-frame/],
    ['M2 of the place of another', 'shares', flip(sharesFormat, 'SHARES'), 'instead', /^wrong-sender/],
    ['M2 for another roster', 'shares', rosterOf(sharesFormat, 'SHARES'), 'instead', /^bad-shares: .*another roster/],
    [
      'M2 with a box too few',
      'shares',
      (event) => reworded(event, 'SHARES', sharesFormat, ({ dealt }) => ({ dealt: dealt.slice(1) })),
      'instead',
      /^bad-shares: expected one box for every other place/,
    ],
    [
      'M2 with other shares after the first',
      'shares',
      (event) => reworded(event, 'SHARES', sharesFormat, ({ own }) => ({ own: { ...own, maskHash: other } })),
      'after',
      /^conflicting-update: this client dealt other shares before/,
    ],
    ['M3 that is not signed', 'masked', unsigned, 'instead', /^wrong-signature/],
    ['M3 for another roster', 'masked', rosterOf(maskedFormat, 'MASKED'), 'instead', /^stale-round/],
    [
      'M3 for other dealers',
      'masked',
      (event) => reworded(event, 'MASKED', maskedFormat, () => ({ dealersHash: other })),
      'instead',
      /^stale-round: .*another set of dealers/,
    ],
    [
      'M3 with another vector after the first',
      'masked',
      (event) => reworded(event, 'MASKED', maskedFormat, () => ({ vecRoot: other })),
      'after',
      /^conflicting-update: this client sent another vector before/,
    ],
    ['M4 that is not signed', 'agree', unsigned, 'instead', /^wrong-signature/],
    [
      'M4 to other survivors',
      'agree',
      (event) => reworded(event, 'AGREE', agreeFormat, () => ({ survivorsHash: other })),
      'instead',
      /^no-quorum: the consent is to other survivors/,
    ],
    ['M4 for another roster', 'agree', rosterOf(agreeFormat, 'AGREE'), 'instead', /^no-quorum/],
    ['M5 that is not signed', 'unmask', unsigned, 'instead', /^wrong-signature/],
    [
      'M5 for other survivors',
      'unmask',
      (event) => reworded(event, 'UNMASK', unmaskFormat, () => ({ survivorsHash: other })),
      'instead',
      /^no-quorum: the shares are for other survivors/,
    ],
    [
      'M5 with an entry too few',
      'unmask',
      (event) => reworded(event, 'UNMASK', unmaskFormat, ({ shares }) => ({ shares: shares.slice(1) })),
      'instead',
      /^bad-share: expected one entry for every dealer/,
    ],
    [
      'M5 with a share that was not dealt',
      'unmask',
      (event) =>
        reworded(event, 'UNMASK', unmaskFormat, ({ shares }) => ({
          shares: shares.map((one, index) => (index === 1 ? { ...one, share: new Uint8Array(32) } : one)),
        })),
      'instead',
      /^bad-share: the share of place 1 is not the one that was dealt/,
    ],
  ];
  for (const [index, [what, type, change, when, reason]] of cases.entries()) {
    it(`[SVC-${index + 1}] ${what}`, () => {
      assert.match(refusalOf(type, change, when), reason);
    });
  }

  it('[SVC-31] M3 and M4 of a member that dealt no shares', () => {
    const last = [...Array(clientCount).keys()]
      .map(identityOf)
      .sort((a, b) => (a.clientId < b.clientId ? -1 : 1))
      .at(-1)!;
    const index = [...Array(clientCount).keys()].find((one) => identityOf(one).clientId === last.clientId)!;
    const codes: string[] = [];
    runCohort({
      clientCount,
      vanishing: new Map([[index, 'SHARES']]),
      machines: {
        ...productionMachines,
        receiveAsServer: (state, event) => {
          if (event.type === 'masked' || event.type === 'agree') {
            const kind = event.type === 'masked' ? 'MASKED' : 'AGREE';
            const format = (event.type === 'masked' ? maskedFormat : agreeFormat) as typeof agreeFormat;
            const decoded = decodeCanonical(format, event.body, kind);
            assert.ok(decoded.ok);
            const body = encodeCanonical(format, { ...decoded.value, place: clientCount - 1 });
            const said = { ...event, clientId: last.clientId, body, signature: last.sign(kind, body) };
            const [effect] = receiveAsServer(state, said).effects;
            codes.push(effect?.type === 'reject' ? `${event.type} ${effect.reason.code}` : `${event.type} taken`);
          }
          return receiveAsServer(state, event);
        },
      },
    });
    assert.deepEqual(new Set(codes), new Set(['masked not-in-cohort', 'agree not-in-cohort']));
  });
});
