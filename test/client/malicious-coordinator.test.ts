/** Attacks of a coordinator around the masked round: old offers, another model than the sum, another log. Each first works where its check is left out. */
import { strict as assert } from 'node:assert';
import type { ClientEvent } from '../../client/events.ts';
import type * as SessionMachine from '../../client/session/machine.ts';
import type { SessionEvent } from '../../client/session/state.ts';
import type { Calls } from '../../client/transport/calls.ts';
import type * as TrustModule from '../../client/trust.ts';
import { createAuditLog } from '../../coordinator/audit/audit-log.ts';
import { createMemoryLog } from '../../coordinator/audit/log-memory.ts';
import { toHex } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import { succeed } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import type * as PolicyModule from '../../shared/plan/policy.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import type { Offer, RoundResult } from '../../shared/protocol/messages.ts';
import { type Machines, productionMachines } from '../../simulations/world/machines.ts';
import { until } from '../coordinator/harness.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { minimalPlan } from '../shared/plan/minimal-plan.ts';
import { runCohort } from '../shared/secure-aggregation/cohort.ts';
import { loadModule, loadMutant, type MutantName } from '../simulation/mutants.ts';
import { coordinatorDouble } from './coordinator-double.ts';
import { memoryPlatform } from './memory-platform.ts';
import { startClient, stopClients } from './running-client.ts';

const federationId = 'f'.repeat(64) as FederationId;
const digest = (digits: string) => digits.repeat(32) as Digest;
const never = new AbortController().signal;
const [coordinator, site] = [1, 2].map((seed) => identityFromSeed(seededEntropy(seed).bytes(32), engineCrypto));

/** Whether the attack succeeds with a module that lacks a check, and with production's. */
async function showAttack<Module>(
  mutant: MutantName,
  path: string,
  succeeds: (module: Module) => boolean | Promise<boolean>,
): Promise<void> {
  const lax = await loadModule<Module>(mutant, path);
  assert.equal(await succeeds(lax), true, `the attack works without the check (${mutant})`);
  const production: Module = await import(`../../${path}`);
  assert.equal(await succeeds(production), false, 'and does not work with it');
}

/** An offer of a round, as its signature was verified before. */
function offerOf(roundIndex: number, attempt: number): Offer {
  const roundParams = { federationId, suite: 1, roundIndex, attempt, modelHash: digest('aa'), planHash: digest('b0') };
  return { roundHash: digest(`${roundIndex + 1}${attempt}`), roundParams } as unknown as Offer;
}

/** A client that contributed to round `contributed`, and what an offer makes of it. */
function answerTo(machine: typeof SessionMachine, contributed: number, offer: Offer): readonly string[] {
  const memory = { federationId, lastRoundIndex: contributed, lastResult: null };
  const event: SessionEvent = { type: 'offer', offer };
  return machine.receive({ phase: { name: 'idle' }, memory }, event).effects.map(({ type }) => type);
}

describe('malicious coordinator around the rounds', () => {
  it('[round-replay] the offer of an earlier round, or of the same number again, is declined, and nothing is trained', async () => {
    for (const roundIndex of [2, 3])
      await showAttack<typeof SessionMachine>('any-round-number', 'client/session/machine.ts', (machine) =>
        answerTo(machine, 3, offerOf(roundIndex, 7)).includes('prepare'),
      );
  });

  it('[retry-differencing] another attempt under a number that was contributed to is declined before anything is masked', async () => {
    await showAttack<typeof SessionMachine>('any-round-number', 'client/session/machine.ts', (machine) =>
      answerTo(machine, 0, offerOf(0, 1)).includes('prepare'),
    );
  });

  it("[tiny-cohort] a profile, ring or bound outside the site's policy is refused by the site alone", async () => {
    const rounds = { count: 10, cohortSize: 5, quorum: 3 };
    const demands: readonly [MutantName, object, object][] = [
      ['any-profile', {}, { profile: 'semi-honest' }],
      ['any-ring', { ringBits: 32 }, { ringBits: 16 }],
      ['any-clip', { clipNormMax: 2 }, { clipNorm: 2.5 }],
    ];
    for (const [mutant, own, secureAggregation] of demands) {
      const plan = parsePlan(
        { ...minimalPlan(), rounds, secureAggregation: { mode: 'on', ...secureAggregation } },
        'the plan',
      );
      await showAttack<typeof PolicyModule>(
        mutant,
        'shared/plan/policy.ts',
        ({ judgePlan }) => judgePlan(parsePolicy(own, 'the policy'), plan).ok,
      );
    }
  });

  /** A client that is told of a published round, and the log that it is shown about it. */
  async function witnessed(
    { createTrust }: typeof TrustModule,
    attack: { readonly told?: Partial<RoundResult>; readonly fork?: boolean },
  ): Promise<{ readonly accepted: boolean; readonly judged: string | null }> {
    const platform = memoryPlatform(5);
    const newLog = () => createAuditLog({ store: createMemoryLog(), identity: coordinator!, clock: platform.clock });
    const log = newLog();
    const publish = (to: typeof log, roundIndex: number) =>
      to.record({
        type: 'round-published',
        subject: String(roundIndex),
        payload: { roundHash: digest('a1'), resultHash: digest('a2'), modelHash: digest('a3') },
      });
    let shown = log;
    const events: ClientEvent[] = [];
    const prove = async ({ size, roundIndex }: { readonly size: number; readonly roundIndex: number }) =>
      succeed(await shown.prove(federationId, size, [{ type: 'round-published', subject: String(roundIndex) }]));
    const membership = async () =>
      succeed({ ok: true, consortium: null, revocations: null, approval: null, certificate: null });
    const trust = createTrust({
      platform,
      calls: { prove, membership } as unknown as Calls,
      credentials: {
        url: 'https://c.example',
        federationId,
        coordinatorKey: toHex(coordinator!.publicKey),
        clientId: site!.clientId,
        consortium: null,
      },
      identity: site!,
      policy: parsePolicy({}, 'the test'),
      onEvent: (event) => events.push(event),
      signal: never,
    });
    const result = (roundIndex: number) =>
      ({ roundHash: digest('a1'), roundIndex, resultHash: digest('a2'), newModelHash: digest('a3') }) as RoundResult;
    await publish(log, 0);
    trust.witness({ ...result(0), ...attack.told });
    await trust.settled();
    if (attack.fork === true) {
      // The same number of entries as the client saw, and one more; none of them the same.
      shown = newLog();
      await publish(shown, 7);
      await publish(shown, 1);
      trust.witness(result(1));
      await trust.settled();
    }
    const isAlarmed = events.some((event) => event.type === 'problem' && event.code === 'log-fork');
    const judged = await trust.judgeOffer({ roundParams: { planHash: digest('cc') } } as Offer, never);
    return { accepted: !isAlarmed, judged };
  }

  it('[aggregate-tamper] a result whose model is not the one that the log published ends the part of the client', async () => {
    for (const told of [{ newModelHash: digest('ee') }, { resultHash: digest('ee') }])
      await showAttack<typeof TrustModule>('any-log', 'client/trust.ts', async (module) => {
        const { accepted, judged } = await witnessed(module, { told });
        assert.equal(judged === null, accepted, 'who is alarmed takes no further part');
        return accepted;
      });
  });

  it('[aggregate-tamper] a round that does not start from the model of the result before, or from other bytes than it says, is declined', async () => {
    const signed = { planHash: digest('b0'), baseDigest: digest('b1'), layoutHash: digest('b2'), dim: 3 };
    const { roundHash } = offerOf(1, 0);
    const roundParams = { ...signed, federationId, suite: 0, roundIndex: 1, attempt: 0, modelHash: digest('aa') };
    const offer = { roundHash, roundParams } as unknown as Offer;
    const trains = (machine: typeof SessionMachine, announced: Digest, downloaded: Digest): boolean => {
      const memory = { federationId, lastRoundIndex: 0, lastResult: { roundIndex: 0, modelHash: announced } };
      const { state } = machine.receive({ phase: { name: 'idle' }, memory }, { type: 'offer', offer });
      const facts = { ...signed, modelHash: downloaded, terms: null };
      const { effects } = machine.receive(state, { type: 'prepared', roundHash, facts });
      return effects.some(({ type }) => type === 'train');
    };
    const { modelHash } = roundParams;
    for (const [mutant, announced, downloaded] of [
      ['any-start', digest('ee'), modelHash],
      ['any-model', modelHash, digest('ee')],
    ] as const)
      await showAttack<typeof SessionMachine>(mutant, 'client/session/machine.ts', (machine) => {
        assert.ok(trains(machine, modelHash, modelHash));
        return trains(machine, announced, downloaded);
      });
  });

  it('[aggregate-tamper] a whole client computes the hash of what it downloaded, and trains on nothing else than the result that it was told', async () => {
    const double = coordinatorDouble();
    const client = await startClient(double);
    const first = double.offer(0);
    await until(() => client.of('uploaded').length === 1);
    double.result(first, 1);
    await until(() => client.of('result').length === 1);
    const told = client.of('result')[0]!.newModelHash;
    // Another model, by its own hash, and under the hash of the result.
    for (const [changes, code] of [
      [{}, 'model-discontinuity'],
      [{ modelHash: told }, 'model-mismatch'],
    ] as const) {
      double.offer(1, { value: 2, params: changes });
      await until(() => client.of('declined').at(-1)?.code === code, code);
    }
    assert.equal(client.of('declined').length, 2);
    double.offer(1, { value: 1 });
    await until(() => client.of('uploaded').length === 2);
    await stopClients();
  });

  it('[log-fork] a log that does not go on from what a client saw alarms it, and it takes part in nothing any more', async () => {
    await showAttack<typeof TrustModule>('any-log', 'client/trust.ts', async (module) => {
      const { accepted, judged } = await witnessed(module, { fork: true });
      assert.equal(judged === null, accepted);
      return accepted;
    });
  });

  it('[log-fork] clients that saw two roots of one size deal no shares to each other', async () => {
    const lax = await loadMutant('any-checkpoints');
    const dealt = ({ startAttempt, receiveAsClient }: Machines): number => {
      let index = 0;
      // Half of the clients were shown another log of the same size, and the coordinator does not mind.
      const split: typeof startAttempt = (own) =>
        startAttempt({ ...own, checkpoint: { size: 5, root: digest(index++ % 2 === 0 ? '11' : '22') } });
      const { sent } = runCohort({ clientCount: 4, machines: { ...lax, startAttempt: split, receiveAsClient } });
      return sent.filter(({ type }) => type === 'shares').length;
    };
    assert.ok(dealt(lax) > 0, 'the attack works without the check');
    assert.equal(dealt(productionMachines), 0, 'and does not work with it');
  });
});
