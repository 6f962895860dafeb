/** The federation of the transport benchmarks: one tensor of `dim` values, no evaluation, and a base that is one small file. */
import type { CoordinatorOptions } from '../../coordinator/coordinator.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import type { Policy } from '../../shared/plan/policy.ts';
import { defaultPolicy } from '../../shared/plan/policy.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';
import { layoutOf } from '../../shared/update/layout.ts';

/** Names the base: nothing is computed with it. */
export const benchmarkBaseDigest = 'be'.repeat(32) as Digest;

/** The layout of an adapter of `dim` values. */
export function benchmarkLayout(dim: number): AdapterLayout {
  return layoutOf([{ name: 'adapter', shape: [dim], aggregationClass: 'mean', decays: false }]);
}

/** Sites of a benchmark agree to everything, also to a cohort of one. */
export const benchmarkPolicy: Policy = { ...defaultPolicy, cohortMin: 1, quorumMin: 1, roundsMax: 1_000_000 };

/** The part of a coordinator's options that says what is trained. Every round asks all clients and needs all of them. */
export function benchmarkFederation(options: {
  readonly clientCount: number;
  readonly roundCount: number;
  readonly dim: number;
  /** Default: updates are sent as they are. */
  readonly isMasked?: boolean;
}): Pick<CoordinatorOptions, 'plan' | 'baseFiles' | 'baseDigest' | 'layout' | 'initialAdapter'> {
  const { clientCount, roundCount, dim, isMasked = false } = options;
  const plan = parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'benchmark',
      base: { digest: benchmarkBaseDigest },
      task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first', lengthMax: 8 },
      adapter: { method: 'none' },
      training: { localSteps: 1 },
      rounds: { count: roundCount, cohortSize: clientCount, quorum: clientCount },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: isMasked ? 'on' : 'off' },
    },
    'the benchmark',
  );
  return {
    plan,
    baseFiles: new Map([['config.json', utf8('{}')]]),
    baseDigest: benchmarkBaseDigest,
    layout: benchmarkLayout(dim),
    initialAdapter: new Float32Array(dim),
  };
}
