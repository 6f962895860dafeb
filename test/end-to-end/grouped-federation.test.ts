/** Whole federations without sockets whose masked rounds have groups: real coordinator, real clients, learners of the test. */
import { strict as assert } from 'node:assert';
import { keysOf, replayRound } from '../../coordinator/audit/replay.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { decodeCanonical } from '../../shared/protocol/canonical.ts';
import { maskedFormat } from '../../shared/secure-aggregation/messages.ts';
import { judgeVouchers } from '../../shared/secure-aggregation/voucher.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { fixedBase, fixedBaseDigest, fixedLayout, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { losingCalls, platformIn, runClient } from './memory-federation.ts';

const dim = 9;

interface Options {
  readonly clientCount: number;
  readonly rounds?: object;
  readonly aggregation?: object;
  readonly secureAggregation?: object;
  readonly policyOf?: (index: number) => object;
  readonly deltaOf?: (index: number) => Float32Array;
  readonly privacy?: object;
  /** Whether a client is gone when it would send its masked vector in the group of this name. */
  readonly vanishes?: (group: Digest) => boolean;
}

/** The world as a client sees it that is gone when `isGone` says so of the group in which it would send its vector. */
function worldOf(world: World, isGone: (group: Digest) => boolean, vanish: () => void): World {
  return losingCalls(world, ({ kind, body }) => {
    const masked = kind === 'MASKED' ? decodeCanonical(maskedFormat, body, 'M3') : null;
    if (!masked?.ok || !isGone(masked.value.rosterHash)) return false;
    vanish();
    return true;
  });
}

async function federate({ clientCount, rounds = {}, aggregation = {}, secureAggregation = {}, ...options }: Options) {
  const {
    policyOf = () => ({}),
    vanishes = () => false,
    privacy = {},
    deltaOf = (index: number) => new Float32Array(dim).fill((index + 1) / 10),
  } = options;
  const plan = parsePlan(
    {
      ...testPlan({
        rounds: { count: 1, cohortSize: clientCount, quorum: clientCount - 3, voidsMax: 1, ...rounds },
        aggregation: { weighting: 'equal', ...aggregation },
        evaluation: { everyRounds: 1 },
        audit: { retainUpdates: true },
        secureAggregation: { mode: 'on', groupSize: 5, ...secureAggregation },
      }),
      base: { digest: fixedBaseDigest(fixedBase) },
      privacy,
    },
    'the test',
  );
  const state = memoryState(seededEntropy(19));
  const world = await startWorld({
    plan,
    state,
    ...fixedStart(dim),
  });
  const clients: Awaited<ReturnType<typeof runClient>>[] = [];
  for (let index = 0; index < clientCount; index++) {
    const policy = parsePolicy({ organisationsMin: 1, ...policyOf(index) }, 'the test');
    const learner = fixedLearner({ dim, exampleCount: 10, delta: () => deltaOf(index) });
    const seen = worldOf(world, vanishes, () => setImmediate(() => clients[index]!.stop()));
    clients.push(await runClient(seen, { platform: platformIn(world, 300 + index), learner, policy }));
  }
  for (let turn = 0; turn < 60 && !world.events.some(({ type }) => type === 'ended'); turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  for (const client of clients) client.stop();
  await Promise.all(clients.map(({ ended }) => ended));
  const library = await world.coordinator.library();
  const adapters = await Promise.all(library.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))));
  return { plan, state, world, library, adapters, problems: clients.flatMap(({ problems }) => problems) };
}

describe('masked federation in groups', () => {
  afterEach(closeWorlds);

  it('[GFD-1] the sums of all groups make the mean of all clients, and their counts the evaluation', async () => {
    const { library, adapters, problems, world } = await federate({ clientCount: 12 });
    assert.deepEqual(problems, []);
    assert.equal(library.length, 2);
    const { record } = library[1]!;
    for (const value of adapters[1]!) assert.ok(Math.abs(value - 0.65) < 1e-5, String(value));
    assert.deepEqual(
      record.measures.filter(({ name }) => name.startsWith('groups')),
      [
        { name: 'groups', value: 2 },
        { name: 'groups-counted', value: 2 },
      ],
    );
    assert.equal(record.contributors.length, 12);
    assert.equal(record.totalWeight, 12);
    assert.equal(record.metrics?.exampleCount, 120);
    const stages = world.events.flatMap((event) => (event.type === 'masking' ? [`${event.of} ${event.stage}`] : []));
    assert.ok(stages.includes('update drawn') && stages.includes('evaluation drawn'), stages.join());
  });

  it('[GFD-2] a group whose members vanish is left out, and the version says so', async () => {
    let first: Digest | null = null;
    const { library, adapters, problems } = await federate({
      clientCount: 20,
      rounds: { quorum: 8 },
      vanishes: (group) => {
        first ??= group;
        return group === first;
      },
      deltaOf: () => new Float32Array(dim).fill(0.25),
    });
    assert.deepEqual(problems, []);
    const { record } = library[1]!;
    assert.equal(record.contributors.length, 15);
    assert.deepEqual(
      record.measures.filter(({ name }) => name.startsWith('groups')).map(({ value }) => value),
      [4, 3],
    );
    for (const value of adapters[1]!) assert.ok(Math.abs(value - 0.25) < 1e-5, String(value));
  });

  it('[GFD-3] a robust rule over groups holds where the mean does not', async () => {
    const deltaOf = (index: number): Float32Array => new Float32Array(dim).fill(index === 3 ? -8 : 0.5);
    const stepUnder = async (aggregation: object): Promise<number> => {
      const { adapters, problems } = await federate({ clientCount: 15, rounds: { quorum: 15 }, aggregation, deltaOf });
      assert.deepEqual(problems, []);
      return adapters[1]![0]!;
    };
    assert.ok((await stepUnder({})) < 0);
    const value = await stepUnder({ robust: 'median', hostileMax: 1 });
    assert.ok(Math.abs(value - 0.5) < 1e-5, String(value));
  });

  it("[GFD-4] a site's own bounds hold for its group: it declines what hides it among fewer", async () => {
    const policyOf = (index: number): object => (index === 0 ? { quorumMin: 5 } : index === 1 ? { cohortMin: 6 } : {});
    const { library, problems } = await federate({ clientCount: 12, rounds: { quorum: 10 }, policyOf });
    assert.equal(library[1]!.record.contributors.length, 10);
    assert.match(problems.join('; '), /the sum of a group with 4 updates, this site demands at least 5 \(quorumMin\)/);
    assert.match(problems.join('; '), /a group of a round with 5 clients, this site demands at least 6 \(cohortMin\)/);
  });

  it('[GFD-5] noise of clients is enough in every group, and the version says against whom', async () => {
    const privacy = { unit: 'client', mechanism: 'distributed', clipNorm: 1, noiseMultiplier: 1, epsilon: 50 };
    const { library, problems } = await federate({ clientCount: 10, rounds: { quorum: 10 }, privacy });
    assert.deepEqual(problems, []);
    assert.match(library[1]!.record.privacy, /fewer than a third of the clients of a group collude/);
    assert.match(
      library[1]!.record.privacy,
      /saw the sums of groups of at least \d+ clients, each hidden in its group alone \(honest-but-curious coordinator/,
    );
  });

  it('[GFD-6] an auditor opens the groups of a retained round again and gets the version; one message less, and it does not', async () => {
    const { plan, state, library } = await federate({
      clientCount: 15,
      rounds: { quorum: 15 },
      aggregation: { robust: 'median', hostileMax: 1 },
    });
    const { federationId } = (await state.store.federation())!;
    const source = {
      plan,
      exchange: exchangeOf(plan.aggregation, fixedLayout(dim)),
      transcript: (await state.store.log.transcript(0))!,
      versions: library,
      keys: keysOf(await state.store.clients()),
      blobs: state.blobs,
      judgeAt: () => judgeVouchers(state.identity.publicKey, federationId),
    };
    assert.deepEqual((await replayRound(source)).faults, []);
    const { transcript } = source;
    const cut = { ...transcript, messages: transcript.messages.slice(0, -3) };
    const { faults } = await replayRound({ ...source, transcript: cut });
    assert.deepEqual(
      faults.map(({ code }) => code),
      ['transcript-damaged'],
    );
  });
});
