/** Whole federations of phases without sockets and without a model: every phase has an adapter of its own length, clients send what the test says. */
import type { Learner } from '../../client/learner.ts';
import type { PreparePhase } from '../../coordinator/phases.ts';
import type { CoordinatorState } from '../../coordinator/store/state.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import { fixedBase, fixedBaseDigest, fixedCounts, fixedLayout, fixedLearner } from '../client/fixed-learner.ts';
import { seededEntropy, settled, startWorld, testPlan, type World } from '../coordinator/harness.ts';
import { platformIn, runClient } from './memory-federation.ts';

/** What a phase begins with: by phase, so that values show where they come from. */
export const startOf = (index: number): number => 10 * index;

/** What a client sends in a round of a phase. */
export type DeltaOf = (round: {
  readonly phase: number;
  readonly roundIndex: number;
}) => Float32Array | Promise<Float32Array>;

/** A document of phases for clients of {@link federatePhases}; parts may be replaced. */
export function phasedDocument(phases: readonly object[], changes: object = {}, rounds: object = {}): Plan {
  const whole = { count: 2, cohortSize: 4, quorum: 3, recruitSeconds: 1, voidsMax: 2, ...rounds };
  const plan = testPlan({ rounds: whole, evaluation: { everyRounds: 0 } });
  const named = phases.map((phase, index) => ({ name: `phase-${index}`, ...phase }));
  return parsePlan({ ...plan, base: { digest: fixedBaseDigest(fixedBase) }, ...changes, phases: named }, 'the test');
}

/** A learner of phases whose vectors are `dims` long. */
function phasedLearner(
  dims: readonly number[],
  deltaOf: DeltaOf,
  countsOf: (value: number) => EvaluationCounts,
): Learner {
  return {
    exampleCount: 10,
    prepare: async (plan, files) => {
      const phase = plan.phase!.index;
      const real = fixedLearner({ dim: dims[phase]!, delta: (roundIndex) => deltaOf({ phase, roundIndex }) });
      return { ...(await real.prepare(plan, files)), evaluate: async (parameters) => countsOf(parameters[0]!) };
    },
  };
}

/** One client: what it sends, and the world as it sees it. */
export interface PhasedClient {
  readonly deltaOf: DeltaOf;
  readonly worldOf?: (world: World, vanish: () => void) => World;
}

/** The coordinator of a document. */
export function startPhases(
  document: Plan,
  dims: readonly number[],
  state?: CoordinatorState,
  seed = 1,
): Promise<World> {
  const preparePhase: PreparePhase = ({ phase }) => ({
    layout: fixedLayout(dims[phase!.index]!),
    initialAdapter: () => new Float32Array(dims[phase!.index]!).fill(startOf(phase!.index)),
  });
  return startWorld({
    plan: document,
    preparePhase,
    baseFiles: fixedBase,
    baseDigest: fixedBaseDigest(fixedBase),
    layout: fixedLayout(dims[0]!),
    initialAdapter: new Float32Array(dims[0]!),
    entropy: seededEntropy(seed),
    ...(state === undefined ? {} : { state }),
  });
}

/** Runs a document to its end; `dims` are the lengths of the vectors of its phases. */
export async function federatePhases(
  document: Plan,
  {
    dims,
    clients,
    countsOf = () => fixedCounts,
    state,
    seed = 1,
  }: {
    readonly dims: readonly number[];
    readonly clients: readonly PhasedClient[];
    /** What a client counts with an adapter, by its first value. */
    readonly countsOf?: (value: number) => EvaluationCounts;
    readonly state?: CoordinatorState;
    /** Of the coordinator's and the clients' secrets: another for a later federation on the same state. */
    readonly seed?: number;
  },
) {
  const world = await startPhases(document, dims, state, seed);
  const policy = parsePolicy({ organisationsMin: 1, cohortMin: 1, quorumMin: 1 }, 'the test');
  const running: Awaited<ReturnType<typeof runClient>>[] = [];
  for (const [index, { deltaOf, worldOf }] of clients.entries()) {
    const seen = worldOf?.(world, () => setImmediate(() => running[index]!.stop())) ?? world;
    const learner = phasedLearner(dims, deltaOf, countsOf);
    running.push(await runClient(seen, { platform: platformIn(world, 640 * seed + index), learner, policy }));
  }
  let isOver = false;
  const ended = world.coordinator.ended.finally(() => {
    isOver = true;
  });
  // Only the test moves the clock: deadlines of those who vanished, and the gathering after a void round.
  for (let turn = 0; !isOver && turn < 400; turn++) {
    await settled();
    await world.clock.advance(2_000);
  }
  const end = await ended;
  for (const client of running) client.stop();
  await Promise.all(running.map((client) => client.ended));
  const library = await world.coordinator.library();
  const adapters = await Promise.all(library.map(async ({ row }) => float32Of(await world.coordinator.adapter(row))));
  return { end, library, adapters, events: world.events, world };
}
