/** The gate by held-out rows of the round's clients, measured under masks, in whole federations without sockets. */
import { strict as assert } from 'node:assert';
import type { Learner } from '../../client/learner.ts';
import { memoryState } from '../../coordinator/store/state.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { fixedBase, fixedBaseDigest, fixedLearner, fixedStart } from '../client/fixed-learner.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../coordinator/harness.ts';
import { binaryCounts } from '../helpers/evaluation-counts.ts';
import { platformIn, runClient } from './memory-federation.ts';

const dim = 6;
const base = { digest: fixedBaseDigest(fixedBase) };
const policy = parsePolicy({ organisationsMin: 1 }, 'the test');

/** Sends what the test says; adapters beyond 2.5 get two rows of ten right, others eight. */
function learnerOf(delta: (round: number) => number): Learner {
  const real = fixedLearner({ dim, delta: (round) => new Float32Array(dim).fill(delta(round)) });
  return {
    ...real,
    prepare: async (...given) => ({
      ...(await real.prepare(...given)),
      evaluate: async (parameters) => binaryCounts(parameters[0]! > 2.5 ? 2 : 8, 10),
    }),
  };
}

async function federate(canary: object, hostile: (round: number) => number, state = memoryState(seededEntropy(1))) {
  const plan = parsePlan(
    {
      ...testPlan({
        rounds: { count: 2, cohortSize: 3, quorum: 3, recruitSeconds: 1 },
        secureAggregation: { mode: 'on' },
        // The gate asks for evaluations, whatever this says.
        evaluation: { everyRounds: 0 },
      }),
      base,
      canary,
    },
    'the test',
  );
  const world = await startWorld({
    plan,
    state,
    ...fixedStart(dim),
  });
  const ends = [];
  // Whoever enrols with a coordinator that was started again is somebody new.
  const enrolled = (await state.store.clients()).length;
  for (let index = 0; index < 3; index++) {
    const learner = learnerOf(index === 0 ? hostile : () => 1);
    ends.push((await runClient(world, { platform: platformIn(world, 880 + enrolled + index), learner, policy })).ended);
  }
  // After a void round the next one gathers for a moment of the clock that only the test moves.
  let isOver = false;
  const ended = world.coordinator.ended.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await new Promise((resolve) => setImmediate(resolve));
    if (world.events.at(-1)?.type === 'void') await world.clock.advance(1000);
  }
  const end = await ended;
  await Promise.all(ends);
  return { end, events: world.events, library: await world.coordinator.library() };
}

describe('canary gate by clients', () => {
  afterEach(closeWorlds);
  const gate = { by: 'clients', least: 0.5, drop: 0.1, failuresMax: 2 };

  it('[CAC-1] one extra masked evaluation of every candidate decides: a poisoned sum is not published', async () => {
    const { end, events, library } = await federate(gate, (round) => (round === 1 ? 100 : 1));
    assert.equal(end.status, 'completed', end.detail);
    assert.deepEqual(
      library.slice(1).map(({ record }) => [record.round?.roundIndex, record.metrics?.accuracy]),
      [
        [0, 0.8],
        [2, 0.8],
      ],
    );
    const refused = events.find((event) => event.type === 'candidate-refused');
    assert.match(refused?.detail ?? '', /accuracy of the candidate is 20\.0 %/);
    assert.ok(
      events.some((event) => event.type === 'masking' && event.of === 'evaluation' && event.stage === 'opened'),
    );
  });

  it('[CAC-2] the first candidate is held to the least value, because nobody measured what it starts from', async () => {
    const { end, library } = await federate(gate, () => 100);
    assert.equal(end.status, 'stopped');
    assert.match(end.detail, /the gate refused 2 candidates in a row; .* the plan demands at least 50\.0 %/);
    assert.equal(library.length, 1);
  });

  it('[CAC-4] a new start of the coordinator does not begin the count of refusals anew', async () => {
    const state = memoryState(seededEntropy(1));
    assert.match((await federate(gate, () => 100, state)).end.detail, /refused 2 candidates in a row/);
    const again = await federate(gate, () => 100, state);
    assert.match(again.end.detail, /refused 3 candidates in a row; .* 3 void/);
    const better = await federate(gate, (round) => (round < 5 ? 1 : 100), state);
    assert.match(better.end.detail, /2 of 2 rounds published/);
  });

  it('[CAC-3] a gate of clients without a least value is refused with the reason', () => {
    assert.throws(
      () => parsePlan({ ...testPlan(), canary: { by: 'clients' } }, 'the test'),
      /canary\.least must be given with canary\.by clients, found nothing: nobody measured/,
    );
    assert.throws(
      () => parsePlan({ ...testPlan(), canary: { by: 'operator' } }, 'the test'),
      /canary\.file must be given[\s\S]*canary\.digest must be given/,
    );
  });
});
