/**
 * The mean of a round where a plan does not take it as it is: of readable updates by a robust rule, or with central noise; of masked groups by a robust
 * rule over their means. Updates are read from their durable blobs, each checked against the name that its client signed.
 */

import { assert } from '../../shared/core/assert.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import type { KeyStream } from '../../shared/crypto/key-stream.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { spendingOf } from '../../shared/plan/privacy.ts';
import { indicatorNoise, nextClipNorm, updateNoise } from '../../shared/privacy/adaptive-clip.ts';
import { addOnGrid, centralTerms, clipFactor, noisyMean } from '../../shared/privacy/central-noise.ts';
import { randomIntegers } from '../../shared/privacy/random-integers.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { UpdateRecord } from '../store/store.ts';
import { robustRuleOf } from './robust/robust-rules.ts';
import { blobVectors, storedVectors } from './robust/vectors.ts';
import type { RuleState } from './server-optimisers.ts';

/** What {@link guardedMean} reads. */
export interface GuardedInput {
  readonly plan: Plan;
  readonly dim: number;
  readonly roundHash: Digest;
  readonly updates: readonly UpdateRecord[];
  readonly blobs: CoordinatorBlobs;
  readonly entropy: Entropy | KeyStream;
  /** The norm to which updates are cut in this round, where it follows them; null where it is the plan's. */
  readonly clipNorm: number | null;
  /** The coordinator's own step; null where the rule needs none. */
  readonly root: Float32Array | null;
  /** State of the robust rule; mutated. */
  readonly state: RuleState;
  /** Memory `[dim]`. */
  readonly accumulator: Float64Array;
}

/** Whether a plan's mean of readable updates is not the plain one. */
export function isGuarded({ aggregation, privacy }: Pick<Plan, 'aggregation' | 'privacy'>): boolean {
  return aggregation.robust !== 'none' || privacy.unit === 'client';
}

/** State of a plan's robust rule before the first round; no vectors where it keeps none. */
export function guardStateOf({ aggregation }: Pick<Plan, 'aggregation'>, dim: number): RuleState {
  return robustRuleOf(aggregation)?.init(dim) ?? [];
}

/** What a guarded mean comes to. */
export interface GuardedMean {
  readonly mean: Float64Array;
  /** The clip norm of the next round, where it follows the updates; null else. */
  readonly nextClipNorm: number | null;
}

/** The mean `[dim]`. @throws StoreError when a blob is missing or damaged; FederationError `too-few-updates` and what the rule refuses. */
export async function guardedMean(input: GuardedInput): Promise<GuardedMean> {
  const { plan, dim, roundHash, updates, blobs, state } = input;
  if (plan.privacy.unit === 'client') return centralMean(input);
  const rule = robustRuleOf(plan.aggregation);
  assert(rule !== null, 'a guarded mean has a rule');
  // Blocks are read without a check of their own.
  for (const { delta } of updates) await blobs.scan(delta, () => undefined);
  const mean = await rule.update(state, storedVectors(updates, dim, blobs), {
    roundHash,
    root: input.root,
    removedCount: 0,
  });
  return { mean, nextClipNorm: null };
}

/** The groups of a masked round. */
export interface GroupMeans {
  readonly drawnCount: number;
  readonly countedCount: number;
  /** Groups whose sums opened and cannot be of members who kept to the protocol. */
  readonly rejectedCount: number;
  /** Means of the groups that count, `[dim]` float32, in the order of groups; none where no rule looks at them. */
  readonly means: readonly Digest[];
}

/** The step `[dim]` that the plan's robust rule makes of the means of groups; deletes these. @throws as {@link guardedMean}. */
export async function guardedGroups({
  plan,
  dim,
  roundHash,
  groups,
  blobs,
  root,
  state,
}: Omit<GuardedInput, 'updates' | 'entropy' | 'accumulator' | 'clipNorm'> & {
  readonly groups: GroupMeans;
}): Promise<Float64Array> {
  const rule = robustRuleOf(plan.aggregation);
  assert(rule !== null, 'means of groups are kept for a rule');
  const { means, rejectedCount: removedCount } = groups;
  try {
    return await rule.update(state, blobVectors(means, dim, blobs), { roundHash, root, removedCount });
  } finally {
    for (const mean of means) await blobs.delete(mean);
  }
}

async function centralMean(input: GuardedInput): Promise<GuardedMean> {
  const { plan, dim, updates, blobs, entropy, accumulator } = input;
  const { adaptive, clipNorm: fixed } = plan.privacy;
  const spending = spendingOf(plan, dim);
  assert(spending !== null && updates.length > 0, 'a round that is made has noise for its budget, and updates');
  const clientCount = updates.length;
  const clipNorm = input.clipNorm ?? fixed;
  const whole = spending.noiseMultiplier;
  // The count of updates within the norm is a release, too: both together cost what the whole multiplier costs.
  const deviation = adaptive === undefined ? null : indicatorNoise(clientCount, whole);
  const noiseMultiplier = deviation === null ? whole : updateNoise(whole, deviation);
  const terms = centralTerms({ clipNorm, noiseMultiplier, dim });
  let withinCount = 0;
  const sum = accumulator.fill(0);
  for (const { delta } of updates) {
    let squares = 0;
    await blobs.scan(delta, (part) => {
      const values = float32Of(part);
      for (let index = 0; index < values.length; index++) squares += values[index]! ** 2;
    });
    const norm = Math.sqrt(squares);
    if (norm <= clipNorm) withinCount++;
    const factor = clipFactor(norm, clipNorm);
    let offset = 0;
    await blobs.scan(delta, (part) => {
      const values = float32Of(part);
      addOnGrid(sum.subarray(offset, offset + values.length), values, factor, terms);
      offset += values.length;
    });
  }
  const random = randomIntegers(entropy);
  noisyMean(sum, terms, { clientCount, random });
  if (adaptive === undefined || deviation === null) return { mean: sum, nextClipNorm: null };
  const counted = { clipNorm, withinCount, clientCount };
  return { mean: sum, nextClipNorm: nextClipNorm(counted, adaptive, { deviation, random }) };
}
