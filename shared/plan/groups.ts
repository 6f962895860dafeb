/** What a plan must say where its masked rounds have groups, so that its rule finds as many of them as it needs. */
import { groupSizeMin } from '../secure-aggregation/threshold.ts';
import { robustDeclarationOf } from '../update/robust-rules.ts';
import type { Problem } from './problems.ts';
import type { RobustSettings } from './robustness.ts';
import { groupSizeOf, type MaskingPlan } from './secure-aggregation.ts';

/** Readable updates without which the rule of a plan answers nothing; at least the quorum. */
export function updatesNeeded({
  aggregation: { robust, hostileMax, bucketSize },
  rounds,
}: Pick<Parameters<typeof crossCheckGroups>[0], 'aggregation' | 'rounds'>): number {
  return Math.max(rounds.quorum, robustDeclarationOf(robust).countMin(hostileMax) * bucketSize);
}

/** Cohorts of readable updates that are smaller than what their rule answers for: no round could ever be published. */
function crossCheckCount({ aggregation, rounds }: Parameters<typeof crossCheckGroups>[0]): Problem[] {
  const { robust, hostileMax, bucketSize } = aggregation;
  const { countMin, condition } = robustDeclarationOf(robust);
  const least = countMin(hostileMax) * bucketSize;
  if (rounds.cohortSize === 'all' || rounds.cohortSize >= least) return [];
  const why = `with hostileMax = ${hostileMax}${bucketSize > 1 ? ` and buckets of ${bucketSize}` : ''} the rule ${robust} needs so many updates (${condition})`;
  const sentence = `must be at least ${least}, found ${rounds.cohortSize}: ${why}; or make hostileMax smaller, or take norm-clip, which needs none`;
  return [{ path: 'rounds.cohortSize', sentence }];
}

/** What no single field shows about groups. */
export function crossCheckGroups(plan: MaskingPlan & { readonly aggregation: RobustSettings }): Problem[] {
  const { aggregation, rounds, secureAggregation } = plan;
  const size = groupSizeOf(plan);
  if (size === null) {
    if (secureAggregation.groupSize === undefined) return crossCheckCount(plan);
    const sentence =
      'must be left out without masked rounds; set secureAggregation.mode to on and rounds.quorum to at least 3 for groups';
    return [{ path: 'secureAggregation.groupSize', sentence }];
  }
  const { robust, hostileMax, bucketSize } = aggregation;
  const { needs, countMin, condition } = robustDeclarationOf(robust);
  if (needs === 'sum') return [];
  const problems: Problem[] = [];
  if (bucketSize > 1) {
    const sentence = `must be 1 with masked rounds, whose groups of ${size} are what the rule looks at, found ${bucketSize}; set secureAggregation.groupSize instead`;
    problems.push({ path: 'aggregation.bucketSize', sentence });
  }
  const groupCount = countMin(hostileMax);
  const least = size * groupCount;
  if (rounds.quorum < least) {
    const why = `with hostileMax = ${hostileMax} the rule ${robust} needs ${groupCount} groups (${condition}, f of groups) of at least ${size} clients`;
    const sentence = `must be at least ${least}, found ${rounds.quorum}: ${why}; or make secureAggregation.groupSize (${groupSizeMin} at least) or hostileMax smaller; with fewer clients aggregation.robust none and secureAggregation.clipNorm is the nearest`;
    problems.push({ path: 'rounds.quorum', sentence });
  }
  return problems;
}
