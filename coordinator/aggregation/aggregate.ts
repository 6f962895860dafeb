/**
 * Makes the candidate for the next version from durable state only: the latest version, its rule state, and the round's stored updates.
 * Nothing is published here; until it is, doing this again gives the same bytes.
 */
import { assert } from '../../shared/core/assert.ts';
import { bytesOf, float32Of } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { firstNonFinite } from '../../shared/update/vector.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { UpdateRecord } from '../store/store.ts';
import { foldMean, weightOf } from './fold.ts';
import { applyRule, decodeRuleState, encodeRuleState, ruleOf } from './rules.ts';

/** An adapter that may become the next version; not stored yet. */
export interface Candidate {
  /** Bytes of the adapter: float32 little-endian in layout order. */
  readonly adapterBytes: Uint8Array;
  /** State of the server optimiser after this round; null where the rule keeps none. */
  readonly ruleState: Digest | null;
  readonly totalWeight: number;
  readonly exampleCount: number;
}

/** Where {@link aggregate} reads and writes, and what it is to combine. */
export interface AggregateOptions {
  readonly plan: Plan;
  readonly dim: number;
  /** Bytes of the latest version's adapter. */
  readonly startBytes: Uint8Array;
  /** Its rule state; null before the first round and where the rule keeps none. */
  readonly ruleState: Digest | null;
  readonly updates: readonly UpdateRecord[];
  readonly blobs: CoordinatorBlobs;
  /** Memory `[dim]` for the sum, used again from round to round. */
  readonly accumulator: Float64Array;
}

/** The candidate, its rule state durable. @throws StoreError when a blob is missing or damaged; FederationError when the result is not finite. */
export async function aggregate(options: AggregateOptions): Promise<Candidate> {
  const { plan, dim, startBytes, ruleState, updates, blobs, accumulator } = options;
  const rule = ruleOf(plan.aggregation);
  const state = ruleState === null ? rule.init(dim) : decodeRuleState(rule, dim, await blobs.get(ruleState));
  const start = float32Of(startBytes);
  assert(start.length === dim, 'the stored adapter has the length of the layout');
  const weigh = (update: UpdateRecord): number => weightOf(plan.aggregation.weighting, update.exampleCount);
  const mean = await foldMean(
    updates.map((update) => ({
      clientId: update.clientId,
      weight: weigh(update),
      scan: (take) => blobs.scan(update.delta, take),
    })),
    dim,
    accumulator,
  );
  const next = applyRule(rule, state, start, mean);
  if (firstNonFinite(next) !== null) {
    throw new FederationError(
      'aggregate-not-finite',
      'the new adapter has values that are no numbers; lower aggregation.serverLearningRate',
    );
  }
  return {
    adapterBytes: bytesOf(next),
    ruleState: state.length === 0 ? null : await blobs.put(encodeRuleState(state)),
    totalWeight: updates.reduce((total, update) => total + weigh(update), 0),
    exampleCount: updates.reduce((total, update) => total + update.exampleCount, 0),
  };
}
