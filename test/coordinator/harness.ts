/** A small federation for tests: a plan of three values and a clock that tests move. Its clients stand in `fake-client.ts`. */
import type { Coordinator, CoordinatorOptions, CoordinatorProgress } from '../../coordinator/coordinator.ts';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import type { MemoryTransport } from '../../coordinator/transport/memory-transport.ts';
import { memoryTransport } from '../../coordinator/transport/memory-transport.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Clock } from '../../shared/core/ports.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';

export { seededEntropy };

/** A clock that only tests move. */
export function manualClock(): Clock & { advance(byMs: number): Promise<void> } {
  let nowMs = 1_700_000_000_000;
  let timers: { readonly atMs: number; readonly action: () => void }[] = [];
  return {
    nowMs: () => nowMs,
    after: (delayMs, action) => {
      const timer = { atMs: nowMs + delayMs, action };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance: async (byMs) => {
      nowMs += byMs;
      for (const timer of timers.filter(({ atMs }) => atMs <= nowMs)) {
        timers = timers.filter((other) => other !== timer);
        timer.action();
      }
      await settled();
    },
  };
}

/** Gives everything that is ready its turn; enough where all state is in memory. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Milliseconds of real time after which a wait is in vain: below mocha's limit, so that the test says what it waited for. */
const waitMsMax = 10_000;

/** Waits for what depends on real input and output. A wait in vain fails with `what`, and so does a coordinator that broke meanwhile. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const endMs = performance.now() + waitMsMax;
  while (!condition()) {
    for (const world of worlds) if (world.broken !== null) throw world.broken;
    if (performance.now() > endMs) throw new Error(`waited ${waitMsMax} ms in vain for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Coordinators of the test that runs. */
const worlds = new Set<{ readonly coordinator: Coordinator; broken: Error | null }>();

/** Closes every coordinator that a test started; for `afterEach`. */
export async function closeWorlds(): Promise<void> {
  const open = [...worlds];
  worlds.clear();
  for (const { coordinator } of open) await coordinator.close();
}

const baseDigest = 'ba'.repeat(32) as Digest;
/** Layout of all tests: one head of `dim` values in one tensor. */
const layoutFor = (dim: number) =>
  layoutOf([{ name: 'head.bias', shape: [dim], aggregationClass: 'mean', decays: false }]);

/** A plan with short deadlines; parts may be replaced. */
export function testPlan(
  changes: {
    readonly adapter?: object;
    readonly rounds?: object;
    readonly aggregation?: object;
    readonly evaluation?: object;
    readonly audit?: object;
    readonly secureAggregation?: object;
  } = {},
): Plan {
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'test',
      base: { digest: baseDigest },
      task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 8 },
      adapter: { method: 'none', ...changes.adapter },
      training: { localSteps: 1 },
      rounds: {
        count: 2,
        cohortSize: 2,
        quorum: 2,
        recruitSeconds: 10,
        trainSeconds: 60,
        evaluateSeconds: 10,
        ...changes.rounds,
      },
      aggregation: { rule: 'fedavg', ...changes.aggregation },
      evaluation: { everyRounds: 1, ...changes.evaluation },
      audit: { ...changes.audit },
      secureAggregation: { mode: 'off', ...changes.secureAggregation },
    },
    'the test',
  );
}

/** A coordinator under test with its surroundings. */
export interface World {
  readonly coordinator: Coordinator;
  readonly transport: MemoryTransport;
  readonly clock: ReturnType<typeof manualClock>;
  readonly events: CoordinatorProgress[];
}

/** Starts a coordinator in memory, or on `stateFolder`. One that is doomed is killed by its test and closed by nobody. */
export async function startWorld(
  options: Partial<CoordinatorOptions> & { readonly dim?: number; readonly isDoomed?: boolean } = {},
): Promise<World> {
  const { dim = 3, isDoomed = false, ...rest } = options;
  const transport = memoryTransport();
  const clock = manualClock();
  const events: CoordinatorProgress[] = [];
  const coordinator = await startCoordinator({
    plan: testPlan(),
    baseFiles: new Map([['config.json', Uint8Array.of(123, 125)]]),
    baseDigest,
    layout: layoutFor(dim),
    initialAdapter: new Float32Array(dim),
    stateFolder: null,
    transport,
    clock,
    entropy: seededEntropy(1),
    onEvent: (event) => events.push(event),
    ...rest,
  });
  const watched = { coordinator, broken: null as Error | null };
  coordinator.ended.catch((thrown: Error) => {
    watched.broken = thrown;
  });
  if (!isDoomed) worlds.add(watched);
  return { coordinator, transport, clock, events };
}
