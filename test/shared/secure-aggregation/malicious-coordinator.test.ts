/** Attacks of a coordinator on real clients, each first shown to work where the check against it is left out. */
import { strict as assert } from 'node:assert';
import { fromHex, utf8 } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { decodeCanonical, encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { bitmapOf } from '../../../shared/secure-aggregation/bitmap.ts';
import type { ClientEvent, ClientPhase } from '../../../shared/secure-aggregation/client-state.ts';
import {
  applyMask,
  type MaskedVector,
  pairMaskSeed,
  pairSign,
  selfMaskSeed,
} from '../../../shared/secure-aggregation/mask.ts';
import {
  advertFormat,
  agreeFormat,
  type RosterEntry,
  unmaskFormat,
} from '../../../shared/secure-aggregation/messages.ts';
import { withOwnKey } from '../../../simulations/faults/hostile-coordinator.ts';
import { malleate } from '../../../simulations/faults/network.ts';
import { type Machines, productionMachines } from '../../../simulations/world/machines.ts';
import { loadMutant, type MutantName } from '../../simulation/mutants.ts';
import { type CohortOptions, type CohortOutcome, identityOf, plainVector, runCohort } from './cohort.ts';

type Stage = 'roster' | 'delivery' | 'survivors' | 'quorum';
type Bend = NonNullable<CohortOptions['bend']>;
type Of<Type extends Stage> = Extract<ClientEvent, { readonly type: Type }>;

/** Whether clients go on where they must not: with the check left out they do, production's do not. */
async function showAttack(mutant: MutantName, succeeds: (machines: Machines) => boolean): Promise<void> {
  assert.equal(succeeds(await loadMutant(mutant)), true, `the attack works without the check (${mutant})`);
  assert.equal(succeeds(productionMachines), false, 'and does not work with it');
}

/** Changes one kind of message to the clients whose index is given, or to all. */
function bending<Type extends Stage>(type: Type, change: (event: Of<Type>) => ClientEvent, only?: number): Bend {
  return (event, index) => (event.type === type && (only ?? index) === index ? change(event as Of<Type>) : event);
}

const sentBy = (outcome: CohortOutcome, type: string): number =>
  outcome.sent.filter((event) => event.type === type).length;
const phasesOf = ({ clients }: CohortOutcome): ClientPhase['name'][] => clients.map(({ state }) => state.phase.name);
const withRoster = (change: (entries: readonly RosterEntry[]) => readonly RosterEntry[]) =>
  bending('roster', ({ roster }) => ({ type: 'roster', roster: { entries: [...change(roster.entries)] } }));

/** Entries in the order in which a roster must have them. */
function sorted(entries: readonly RosterEntry[]): RosterEntry[] {
  const idOf = ({ advert }: RosterEntry): ClientId => {
    const decoded = decodeCanonical(advertFormat, advert, 'M1');
    assert.ok(decoded.ok);
    return decoded.value.clientId;
  };
  return [...entries].sort((left, right) => (idOf(left) < idOf(right) ? -1 : 1));
}

/** The entry of a roster with other words in its advert, signed by whoever has the key. */
function resigned(entry: RosterEntry, changes: object): RosterEntry {
  const decoded = decodeCanonical(advertFormat, entry.advert, 'M1');
  assert.ok(decoded.ok);
  const owner = [...Array(12).keys()].map(identityOf).find(({ clientId }) => clientId === decoded.value.clientId)!;
  const advert = encodeCanonical(advertFormat, { ...decoded.value, ...changes });
  return { ...entry, advert, signature: owner.sign('ADVERT', advert) };
}

/** Every point of low order, and those encodings above 2^255 - 20 that mean one. */
const lowOrderKeys = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
];

/** Two attempts under one round number, with the journals that outlive both: who unmasked in the second. */
function unmaskTwice(machines: Machines): number {
  const journals = new Set<number>();
  const journal = (index: number): boolean => !journals.has(index) && journals.add(index) !== null;
  const first = runCohort({ clientCount: 4, machines, journal });
  assert.ok(first.sum !== null);
  // Everything but the journal is new, as after a restart; one client is kept out of the second sum.
  const second = runCohort({ clientCount: 4, seed: 2, machines, journal, vanishing: new Map([[3, 'MASKED']]) });
  return sentBy(second, 'unmask');
}

describe('malicious coordinator', () => {
  it('[both-secrets-request] asks again under the same number with one client moved: nobody answers, restarted or not', async () => {
    await showAttack('drop-journal', (machines) => unmaskTwice(machines) > 0);
    const { clients } = runCohort({ clientCount: 4 });
    for (const { state } of clients) {
      const survivors = {
        rosterHash: '00'.repeat(32) as Digest,
        survivors: bitmapOf([0, 1, 2], 4),
        inputsRoot: '00'.repeat(32) as Digest,
      };
      const again = productionMachines.receiveAsClient(state, { type: 'survivors', survivors });
      assert.deepEqual([again.state, again.effects.map(({ type }) => type)], [state, ['report']]);
    }
  });

  it('[split-view-survivors] shows two sets of survivors: neither side opens anything', async () => {
    const clientCount = 6;
    /** Shows half of the clients that place 5 vanished, then to each the consents that there are to what it saw. */
    const revealed = (machines: Machines): number => {
      let seen = 0;
      const bend = bending('survivors', ({ survivors }) =>
        seen++ % 2 === 0
          ? { type: 'survivors', survivors }
          : { type: 'survivors', survivors: { ...survivors, survivors: bitmapOf([0, 1, 2, 3, 4], clientCount) } },
      );
      const outcome = runCohort({ clientCount, machines, bend });
      assert.equal(outcome.sum, null);
      const consents = outcome.sent.flatMap((event) => {
        if (event.type !== 'agree') return [];
        const body = decodeCanonical(agreeFormat, event.body, 'M4');
        return body.ok ? [{ ...body.value, signature: event.signature }] : [];
      });
      let journaling = 0;
      for (const { state } of outcome.clients) {
        if (state.phase.name !== 'agreed') continue;
        const { survivorsHash } = state.phase;
        const signatures = consents.filter((one) => one.survivorsHash === survivorsHash);
        const step = machines.receiveAsClient(state, { type: 'quorum', quorum: { survivorsHash, signatures } });
        if (step.state.phase.name === 'journaling') journaling++;
      }
      return journaling;
    };
    await showAttack('skip-quorum-check', (machines) => revealed(machines) > 0);
  });

  const foreign = runCohort({ clientCount: 4, seed: 9 }).sent.filter(({ type }) => type === 'agree');
  type Signature = Of<'quorum'>['quorum']['signatures'][number];
  const smallOrder = new Uint8Array(64).fill(0);
  smallOrder[0] = 1;
  const forgeries: readonly [string, MutantName, (own: Signature, all: readonly Signature[]) => Signature[]][] = [
    ['duplicated', 'count-signatures', (own) => [own, own, own]],
    [
      'foreign-round',
      'no-signature-in-quorum',
      (own, all) => [
        own,
        ...all
          .filter(({ place }) => place !== own.place)
          .map(({ place }, at) => ({ place, signature: (foreign[at] as { signature: Uint8Array }).signature })),
      ],
    ],
    [
      'non-member',
      'count-strangers',
      (own) => [own, { place: 90, signature: own.signature }, { place: 91, signature: own.signature }],
    ],
    [
      'malleated',
      'accept-s-plus-l',
      (own, all) => [
        own,
        ...all
          .filter(({ place }) => place !== own.place)
          .map(({ place, signature }) => ({ place, signature: malleate(signature) })),
      ],
    ],
    [
      'small-order',
      'no-signature-in-quorum',
      (own, all) => [
        own,
        ...all.filter(({ place }) => place !== own.place).map(({ place }) => ({ place, signature: smallOrder })),
      ],
    ],
  ];
  for (const [kind, mutant, forge] of forgeries) {
    it(`[quorum-forgery: ${kind}] is not counted`, async () => {
      const opens = (machines: Machines): boolean => {
        const places = new Map(
          runCohort({ clientCount: 4 }).clients.map(({ identity }, index) => [index, identity.clientId]),
        );
        const order = [...places.values()].sort();
        const bend: Bend = (event, index) => {
          if (event.type !== 'quorum') return event;
          const own = event.quorum.signatures.find(({ place }) => place === order.indexOf(places.get(index)!))!;
          return { type: 'quorum', quorum: { ...event.quorum, signatures: forge(own, event.quorum.signatures) } };
        };
        return sentBy(runCohort({ clientCount: 4, machines, bend }), 'unmask') > 0;
      };
      await showAttack(mutant, opens);
    });
  }

  /** Attacks on the roster: whether clients deal shares to it. */
  const rosters: readonly [string, MutantName, Bend][] = [
    [
      'key-substitution',
      'unsigned-roster',
      bending('roster', ({ roster }) => ({ type: 'roster', roster: withOwnKey(roster, 3) })),
    ],
    [
      'uncertified-sybil',
      'any-certificate',
      withRoster((entries) => {
        const sybil = identityOf(11);
        const certificate = utf8('nobody');
        const made = {
          clientId: sybil.clientId,
          certificateHash: digestOf(certificate),
          boxKey: sybil.publicKey,
          maskKey: utf8('m'.repeat(32)),
        };
        const template = resigned(entries[0]!, {});
        const decoded = decodeCanonical(advertFormat, template.advert, 'M1');
        assert.ok(decoded.ok);
        const advert = encodeCanonical(advertFormat, { ...decoded.value, ...made });
        return sorted([
          ...entries,
          { advert, signature: sybil.sign('ADVERT', advert), publicKey: sybil.publicKey, certificate },
        ]);
      }),
    ],
    [
      'model-inconsistency',
      'any-round',
      withRoster((entries) =>
        entries.map((entry, place) => (place === 1 ? resigned(entry, { roundHash: 'cd'.repeat(32) }) : entry)),
      ),
    ],
  ];
  for (const [name, mutant, bend] of rosters) {
    it(`[${name}] in a roster: nobody deals shares to it`, async () => {
      await showAttack(mutant, (machines) => sentBy(runCohort({ clientCount: 4, machines, bend }), 'shares') > 1);
    });
  }

  it("[tiny-cohort] below the site's own bounds nothing goes on, whatever the coordinator is content with", async () => {
    const serverSetting = { clientCountMin: 3, organisationCountMin: 1 };
    const setting = { clientCountMin: 5 };
    await showAttack(
      'any-size',
      (machines) => sentBy(runCohort({ clientCount: 4, machines, setting, serverSetting }), 'shares') > 0,
    );
    const vanishing = new Map([[0, 'MASKED']] as const);
    const few: CohortOptions = { clientCount: 5, vanishing, setting, serverSetting };
    await showAttack('few-survivors', (machines) => sentBy(runCohort({ ...few, machines }), 'agree') > 0);
    const organisationOf = (index: number): string => (index === 0 ? 'org a' : index === 1 ? 'org b' : 'org c');
    const alike: CohortOptions = {
      clientCount: 5,
      vanishing,
      organisationOf,
      setting: { organisationCountMin: 3 },
      serverSetting,
    };
    await showAttack('few-organisations', (machines) => sentBy(runCohort({ ...alike, machines }), 'agree') > 0);
  });

  it('[round-replay] roster and boxes of an earlier round are not taken in another', async () => {
    const old: ClientEvent[] = [];
    const noting: Bend = (event) => {
      old.push(event);
      return event;
    };
    runCohort({ clientCount: 4, seed: 5, bend: noting });
    const oldRoster = old.find((event): event is Of<'roster'> => event.type === 'roster')!;
    const replayed = runCohort({ clientCount: 4, bend: bending('roster', () => oldRoster) });
    assert.equal(sentBy(replayed, 'shares'), 0);
    const oldDelivery = old.find((event): event is Of<'delivery'> => event.type === 'delivery')!;
    await showAttack('any-roster-delivery', (machines) => {
      const bend = bending('delivery', ({ delivery }) => ({
        type: 'delivery',
        delivery: { ...delivery, rosterHash: oldDelivery.delivery.rosterHash },
      }));
      return sentBy(runCohort({ clientCount: 4, machines, bend }), 'masked') > 0;
    });
  });

  it('[retry-differencing] a second attempt after the shares were sent gives no second sum', async () => {
    await showAttack('drop-journal', (machines) => unmaskTwice(machines) >= 3);
  });

  it('[share-misrouting] boxes that are swapped, cut or changed give no share and stop nobody else', async () => {
    const clientCount = 4;
    /** Shares that the one client whose boxes are bent gives of others. */
    const given = (machines: Machines, change: (event: Of<'delivery'>) => ClientEvent): number => {
      const outcome = runCohort({ clientCount, machines, bend: bending('delivery', change, 0) });
      const place = outcome.clients
        .map(({ identity }) => identity.clientId)
        .sort()
        .indexOf(outcome.clients[0]!.identity.clientId);
      return outcome.sent.reduce((count, event) => {
        if (event.type !== 'unmask') return count;
        const body = decodeCanonical(unmaskFormat, event.body, 'M5');
        if (!body.ok || body.value.place !== place) return count;
        return body.value.shares.filter(({ dealer, share }) => dealer !== place && share !== null).length;
      }, 0);
    };
    const boxes = (
      { delivery }: Of<'delivery'>,
      change: (box: Of<'delivery'>['delivery']['boxes']) => Of<'delivery'>['delivery']['boxes'],
    ): ClientEvent => ({ type: 'delivery', delivery: { ...delivery, boxes: change(delivery.boxes) } });
    assert.equal(
      given(productionMachines, (event) => event),
      clientCount - 1,
    );
    assert.equal(
      given(productionMachines, (event) =>
        boxes(event, (all) => all.map((one, at) => ({ ...one, box: all[(at + 1) % all.length]!.box }))),
      ),
      0,
    );
    assert.equal(
      given(productionMachines, (event) =>
        boxes(event, (all) =>
          all.map((one) => ({ ...one, box: one.box.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) })),
        ),
      ),
      0,
    );
    assert.equal(
      given(productionMachines, (event) => boxes(event, (all) => all.slice(1))),
      0,
    );
    assert.equal(
      given(productionMachines, (event) => boxes(event, (all) => [all[0]!, ...all])),
      0,
    );
    const otherHash = (event: Of<'delivery'>): ClientEvent =>
      boxes(event, (all) => all.map((one) => ({ ...one, selfHash: '11'.repeat(32) as Digest })));
    await showAttack('any-share', (machines) => given(machines, otherHash) > 0);
  });

  it('[low-order-x25519] keys of low order, signed by their owner, are on no roster that clients deal to', async () => {
    const lax = await loadMutant('any-order-keys');
    for (const encoding of lowOrderKeys) {
      const maskKey = fromHex(encoding);
      const bend = withRoster((entries) =>
        entries.map((entry, place) => (place === 2 ? resigned(entry, { maskKey }) : entry)),
      );
      const outcome = runCohort({ clientCount: 4, bend });
      assert.equal(sentBy(outcome, 'shares'), 0);
      assert.ok(phasesOf(outcome).every((name) => name === 'aborted'));
      // Without the check the roster passes: others than the owner of the key deal shares.
      assert.ok(sentBy(runCohort({ clientCount: 4, bend, machines: lax }), 'shares') > 0);
    }
  });

  it('[late-input-after-recovery] a vector that comes after its pairwise masks were opened is refused, and still masked', () => {
    const late = 3;
    const outcome = runCohort({ clientCount: 4, vanishing: new Map([[late, 'MASKED']]) });
    assert.ok(outcome.sum !== null && outcome.server.phase.name === 'opened');
    const { members } = outcome.server.phase.members;
    const place = members.findIndex(({ clientId }) => clientId === outcome.clients[late]!.identity.clientId);
    const clientId = members[place]!.clientId;
    const step = productionMachines.receiveAsServer(outcome.server, {
      type: 'masked',
      clientId,
      body: utf8('late'),
      signature: new Uint8Array(64),
    });
    assert.deepEqual(
      step.effects.map((effect) => effect.type === 'reject' && effect.reason.code),
      ['unexpected-event'],
    );
    assert.equal(step.state, outcome.server);
    const { rosterHash } = outcome.server.phase.members;
    const state = lateSecrets(outcome, late);
    const bare: MaskedVector = {
      coordinates: outcome.masked.get(late)!.coordinates.slice(),
      tail: outcome.masked.get(late)!.tail.slice(),
    };
    for (const other of members) {
      if (other.place === place) continue;
      const seed = pairMaskSeed(state.mask, other.advert.maskKey, rosterHash, [place, other.place])!;
      applyMask(bare, seed, pairSign(place, other.place) === 1 ? -1 : 1, 1);
    }
    assert.notDeepEqual(bare.coordinates, plainVector(late, 21).coordinates);
    applyMask(bare, selfMaskSeed(state.self, rosterHash, place), -1, 1);
    assert.deepEqual(bare, plainVector(late, 21));
  });
});

/** The secrets of a client, which it drew first, in this order, from its own entropy. */
function lateSecrets(
  { entropyOf }: CohortOutcome,
  index: number,
): { readonly mask: Uint8Array; readonly self: Uint8Array } {
  const entropy = entropyOf(index);
  const [, mask, self] = [entropy.bytes(32), entropy.bytes(32), entropy.bytes(32)];
  return { mask: mask!, self: self! };
}
