/** Attacks of a coordinator on real clients, each first shown to work where the check against it is left out. */
import { strict as assert } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import { toHex, utf8 } from '../../../shared/core/bytes.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { decodeCanonical, encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { bitmapOf } from '../../../shared/secure-aggregation/bitmap.ts';
import type { ClientEvent } from '../../../shared/secure-aggregation/client-state.ts';
import {
  applyMask,
  type MaskedVector,
  pairMaskSeed,
  pairSign,
  selfMaskSeed,
} from '../../../shared/secure-aggregation/mask.ts';
import { agreeFormat, survivorsHashOf, unmaskFormat } from '../../../shared/secure-aggregation/messages.ts';
import { malleate } from '../../../simulations/faults/network.ts';
import { type Machines, productionMachines } from '../../../simulations/world/machines.ts';
import type { MutantName } from '../../simulation/mutants.ts';
import { type Bend, bending, type Of, sentBy, showAttack } from './attacks.ts';
import { type CohortOptions, type CohortOutcome, plainVector, runCohort } from './cohort.ts';

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

/**
 * A coordinator that has everybody's keys but one client's asks that one for both secrets of another: first as it was, if `isAnswered`, then with
 * consents of all to survivors without the other, then as it was. What it gets.
 */
function askTwice(machines: Machines, isAnswered: boolean) {
  // The client is left where it waits for the consents.
  const shown: ClientEvent[] = [];
  const bend: Bend = (event, index) => {
    if (index === 0 && (event.type === 'survivors' || event.type === 'quorum')) shown.push(event);
    return event.type === 'quorum' && index === 0 ? null : event;
  };
  const { clients } = runCohort({ clientCount: 4, bend, machines });
  const { identity, ...client } = clients[0]!;
  let { state } = client;
  const answers: Uint8Array[] = [];
  const tell = (event: ClientEvent): void => {
    const step = machines.receiveAsClient(state, event);
    ({ state } = step);
    for (const effect of step.effects) {
      if (effect.type === 'sign') tell({ type: 'signed', signature: identity.sign(effect.kind, effect.body) });
      // A journal that would allow anything.
      if (effect.type === 'journal') tell({ type: 'journaled', isFirst: true });
      if (effect.type === 'send' && effect.kind === 'UNMASK') answers.push(effect.body);
    }
  };
  assert.ok(state.phase.name === 'agreed' && shown.length === 2);
  const { members, dealersHash, place } = state.phase;
  const { rosterHash } = members;
  const moved = (place + 1) % 4;
  const left = [0, 1, 2, 3].filter((other) => other !== moved);
  const survivors = { rosterHash, survivors: bitmapOf(left, 4), inputsRoot: '00'.repeat(32) as Digest };
  const survivorsHash = survivorsHashOf(dealersHash, survivors);
  const signatures = members.members.map(({ clientId, place: signer }) => ({
    place: signer,
    signature: clients
      .find((one) => one.identity.clientId === clientId)!
      .identity.sign('AGREE', encodeCanonical(agreeFormat, { rosterHash, place: signer, survivorsHash })),
  }));
  const [asItWas, quorum] = shown as [ClientEvent, ClientEvent];
  if (isAnswered) tell(quorum);
  tell({ type: 'survivors', survivors });
  tell({ type: 'quorum', quorum: { survivorsHash, signatures } });
  tell(asItWas);
  tell(quorum);
  return { answers, moved, phase: state.phase.name };
}

describe('malicious coordinator', () => {
  it('[both-secrets-request] asks again under the same number with one client moved: nobody answers, restarted or not', async () => {
    await showAttack('drop-journal', (machines) => unmaskTwice(machines) > 0);
  });

  it('[both-secrets-request] within one attempt, before and after its unmasking, with consents of all to the moved survivors: one answer', async () => {
    for (const isAnswered of [false, true])
      await showAttack('goes-back', (machines) => {
        const { answers, moved, phase } = askTwice(machines, isAnswered);
        const shares = answers.flatMap((answer) => {
          const unmask = decodeCanonical(unmaskFormat, answer, 'M5');
          assert.ok(unmask.ok);
          assert.deepEqual(
            unmask.value.shares.map(({ dealer }) => dealer),
            [0, 1, 2, 3],
          );
          return unmask.value.shares.flatMap(({ dealer, share }) => (dealer === moved ? [toHex(share!)] : []));
        });
        // Shown the moved survivors first, production's gives up, and answers nothing.
        if (machines === productionMachines)
          assert.deepEqual([answers.length, phase], isAnswered ? [1, 'unmasked'] : [0, 'aborted']);
        return new Set(shares).size === 2;
      });
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
        if (state.phase.name !== 'agreed') {
          assert.equal(state.phase.name, 'aborted', 'a client that is shown as vanished ends its part');
          continue;
        }
        const { survivorsHash } = state.phase;
        const signatures = consents.filter((one) => one.survivorsHash === survivorsHash);
        const step = machines.receiveAsClient(state, { type: 'quorum', quorum: { survivorsHash, signatures } });
        if (step.state.phase.name === 'journaling') journaling++;
        else assert.ok(step.state.phase.name === 'aborted' && step.state.phase.reason.code === 'no-quorum');
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
    const replayed = bending('roster', () => oldRoster);
    await showAttack(
      'any-own-keys',
      (machines) => sentBy(runCohort({ clientCount: 4, machines, bend: replayed }), 'shares') > 0,
    );
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
    const toAnother: Of<'delivery'>[] = [];
    const noting = bending(
      'delivery',
      (event) => {
        toAnother.push(event);
        return event;
      },
      1,
    );
    runCohort({ clientCount, bend: noting });
    const misrouted = toAnother[0]!.delivery.boxes[0]!.box;
    const attacks: readonly [string, MutantName, (event: Of<'delivery'>) => ClientEvent][] = [
      [
        'of another holder',
        'unopened-boxes',
        (event) => boxes(event, (all) => all.map((one) => ({ ...one, box: misrouted }))),
      ],
      [
        'of other dealers',
        'unopened-boxes',
        (event) => boxes(event, (all) => all.map((one, at) => ({ ...one, box: all[(at + 1) % all.length]!.box }))),
      ],
      [
        'with one bit changed',
        'unopened-boxes',
        (event) =>
          boxes(event, (all) =>
            all.map((one) => ({ ...one, box: one.box.map((byte, at) => (at === 40 ? byte ^ 1 : byte)) })),
          ),
      ],
      ['of some dealers', 'any-boxes', (event) => boxes(event, (all) => all.slice(1))],
      ['twice', 'any-boxes', (event) => boxes(event, (all) => [all[0]!, ...all])],
      [
        'under other hashes',
        'any-share',
        (event) => boxes(event, (all) => all.map((one) => ({ ...one, selfHash: '11'.repeat(32) as Digest }))),
      ],
    ];
    for (const [, mutant, change] of attacks) await showAttack(mutant, (machines) => given(machines, change) > 0);
  });

  it('[late-input-after-recovery] a vector that comes after its pairwise masks were opened is refused, and still masked', async () => {
    const late = 3;
    /** Whether whoever has the opened secret of a client that vanished reads the vector that it sends too late. */
    const reads = (machines: Machines): boolean => {
      const outcome = runCohort({ clientCount: 4, machines, vanishing: new Map([[late, 'MASKED']]) });
      assert.ok(outcome.sum !== null && outcome.server.phase.name === 'opened');
      const { members, rosterHash } = outcome.server.phase.members;
      const { clientId } = outcome.clients[late]!.identity;
      const place = members.findIndex((member) => member.clientId === clientId);
      const said = { clientId, body: utf8('late'), signature: new Uint8Array(64) };
      const step = machines.receiveAsServer(outcome.server, { type: 'masked', ...said });
      const refused = step.effects.map((effect) => effect.type === 'reject' && effect.reason.code);
      assert.deepEqual([step.state, refused], [outcome.server, ['unexpected-event']]);
      const secrets = lateSecrets(outcome, late);
      const sent = outcome.masked.get(late)!;
      const bare: MaskedVector = { coordinates: sent.coordinates.slice(), tail: sent.tail.slice() };
      for (const other of members) {
        if (other.place === place) continue;
        const seed = pairMaskSeed(secrets.mask, other.advert.maskKey, rosterHash, [place, other.place])!;
        applyMask(bare, seed, pairSign(place, other.place) === 1 ? -1 : 1, 1);
      }
      const isPlain = isDeepStrictEqual(bare, plainVector(late, 21));
      applyMask(bare, selfMaskSeed(secrets.self, rosterHash, place), -1, 1);
      // Its self secret, of which nobody shows a share, is all that is between.
      assert.ok(isPlain || isDeepStrictEqual(bare, plainVector(late, 21)));
      return isPlain;
    };
    await showAttack('no-self-mask', reads);
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
