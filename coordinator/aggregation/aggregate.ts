/**
 * Makes the candidate for the next version from durable state only: the latest version, its rule state, and the round's stored updates.
 * Nothing is published here; until it is, doing this again gives the same bytes.
 */
import { assert } from '../../shared/core/assert.ts';
import { bytesOf, float32Of } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import type { KeyStream } from '../../shared/crypto/key-stream.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { clipNormFrom } from '../../shared/privacy/adaptive-clip.ts';
import type { Exchange } from '../../shared/update/exchange.ts';
import { firstNonFinite } from '../../shared/update/vector.ts';
import { weightOf } from '../../shared/update/weight.ts';
import type { CoordinatorBlobs } from '../store/blobs.ts';
import type { UpdateRecord } from '../store/store.ts';
import type { Measure } from './combine.ts';
import { combine, readsSingles } from './combine.ts';
import type { Contribution } from './fold.ts';
import { foldMean } from './fold.ts';
import { type GroupMeans, guardedGroups, guardedMean, guardStateOf, isGuarded } from './guarded-mean.ts';
import { holdFrozenParts } from './held-parts.ts';
import type { SingleUpdate } from './pair-round.ts';
import { applyRule, decodeRuleState, encodeRuleState, ruleOf } from './rules.ts';
import type { AggregationRule, RuleState } from './server-optimisers.ts';

/** An adapter that may become the next version; not stored yet. */
export interface Candidate {
  /** Bytes of the adapter: float32 little-endian in layout order. */
  readonly adapterBytes: Uint8Array;
  /** State of the server optimiser after this round; null where the rule keeps none. */
  readonly ruleState: Digest | null;
  readonly totalWeight: number;
  readonly exampleCount: number;
  /** What the rule measured, ascending in name. */
  readonly measures: readonly Measure[];
}

/** Name of the measure by which a version says to which norm updates of the next round are cut. */
export const clipNormMeasure = 'clip-norm';

/** What the opened sum of a masked round says. */
export interface OpenedMean {
  /** Weighted mean of the uploads `[uploaded dim]`; mutated. */
  readonly mean: Float64Array;
  readonly totalWeight: number;
  readonly exampleCount: number;
  readonly meanLoss: number;
  /** Σ (b − ½) of the clients with noise, where the clip norm follows their updates. */
  readonly noisyCount?: number;
  /** What groups it consists of; null for a complete graph. */
  readonly groups: GroupMeans | null;
}

/** Where {@link aggregate} reads and writes, and what it is to combine. */
export interface AggregateOptions {
  readonly plan: Plan;
  readonly exchange: Exchange;
  readonly roundIndex: number;
  readonly roundHash: Digest;
  /** Bytes of the latest version's adapter. */
  readonly startBytes: Uint8Array;
  /** Its rule state; null before the first round and where the rule keeps none. */
  readonly ruleState: Digest | null;
  readonly updates: readonly UpdateRecord[];
  /** The mean of a masked round, whose single updates nobody can read; null where updates are folded. */
  readonly opened: OpenedMean | null;
  readonly blobs: CoordinatorBlobs;
  /** Memory `[uploaded dim]` for the sum, used again from round to round. */
  readonly accumulator: Float64Array;
  /** The coordinator's own step `[uploaded dim]`, for rules that compare updates with one. */
  readonly root?: Float32Array | null;
  /** Where central noise comes from. */
  readonly entropy?: Entropy | KeyStream;
  /** The norm to which updates are cut, where it follows them. */
  readonly clipNorm?: number | null;
}

/** The candidate, its rule state durable. @throws StoreError when a blob is missing or damaged; FederationError when the result is not finite. */
export async function aggregate(options: AggregateOptions): Promise<Candidate> {
  const { plan, exchange, startBytes, ruleState, updates, opened, blobs } = options;
  const { aggregation } = plan;
  const rule = ruleOf(aggregation);
  const { stepDim } = exchange;
  const guardState = guardStateOf(plan, exchange.uploaded.dim);
  const stored = ruleState === null ? null : await blobs.get(ruleState);
  const state = takeStates(stored, rule, { stepDim, guardState });
  const start = float32Of(startBytes);
  assert(start.length === exchange.published.dim, 'the stored adapter has the length of the layout');
  const weigh = (update: UpdateRecord): number => weightOf(aggregation.weighting, update.exampleCount);
  const totalWeight = updates.reduce((total, update) => total + weigh(update), 0);
  const contributions = updates.map((update) => ({
    clientId: update.clientId,
    weight: weigh(update),
    scan: (take: (part: Uint8Array) => void) => blobs.scan(update.delta, take),
  }));
  const counted = contributions.filter(({ weight }) => weight > 0);
  const guarded = opened === null && isGuarded(plan);
  const isRead = opened === null && !guarded && readsSingles(exchange, counted.length);
  const read = isRead ? readWhole(contributions, exchange.uploaded.dim) : null;
  const guard = {
    ...{ plan, blobs, roundHash: options.roundHash, dim: exchange.uploaded.dim, state: guardState },
    root: options.root ?? null,
  };
  const groups = opened?.groups ?? null;
  const ruled = groups === null || aggregation.robust === 'none' ? null : await guardedGroups({ ...guard, groups });
  const found = guarded
    ? await guardedMean({
        ...{ ...guard, updates, accumulator: options.accumulator },
        entropy: options.entropy ?? systemEntropy,
        clipNorm: options.clipNorm ?? null,
      })
    : null;
  const mean =
    ruled ??
    opened?.mean ??
    found?.mean ??
    (await foldMean(read?.contributions ?? contributions, exchange.uploaded.dim, options.accumulator));
  const finished =
    exchange.isPlain && !isRead
      ? { next: applyRule(rule, state, start, mean), measures: [] }
      : await combine({
          exchange,
          rule,
          state,
          start,
          mean,
          singles: read?.singles(totalWeight) ?? [],
          clientCount: opened === null ? counted.length : updates.length,
          roundHash: options.roundHash,
          learningRate: aggregation.rule === 'fedavg' ? aggregation.serverLearningRate : 1,
          giveTurn,
        });
  const { next, measures } = finished;
  holdFrozenParts(next, start, { plan, layout: exchange.published, roundIndex: options.roundIndex });
  if (firstNonFinite(next) !== null) {
    throw new FederationError(
      'aggregate-not-finite',
      'the new adapter has values that are no numbers; lower aggregation.serverLearningRate',
    );
  }
  const { adaptive } = plan.privacy;
  const { noisyCount } = opened ?? {};
  const cut = { clipNorm: options.clipNorm ?? plan.privacy.clipNorm, clientCount: updates.length };
  const clipNorm =
    noisyCount === undefined || adaptive === undefined
      ? (found?.nextClipNorm ?? null)
      : clipNormFrom({ ...cut, noisyCount }, adaptive);
  const states = [...state, ...guardState];
  return {
    adapterBytes: bytesOf(next),
    ruleState: states.length === 0 ? null : await blobs.put(encodeRuleState(states)),
    totalWeight: opened?.totalWeight ?? totalWeight,
    exampleCount: opened?.exampleCount ?? updates.reduce((total, update) => total + update.exampleCount, 0),
    measures: [
      ...measures,
      ...(opened === null ? [] : measuresOfMasked(opened, plan)),
      ...(clipNorm === null ? [] : [{ name: clipNormMeasure, value: clipNorm }]),
    ].sort(byName),
  };
}

/** State of the server's optimiser from the stored bytes; that of the robust rule, which stands behind it, is filled in. */
function takeStates(
  stored: Uint8Array | null,
  rule: AggregationRule,
  { stepDim, guardState }: { readonly stepDim: number; readonly guardState: RuleState },
): RuleState {
  if (stored === null) return rule.init(stepDim);
  const guardBytes = guardState.reduce((sum, vector) => sum + vector.byteLength, 0);
  let offset = Math.max(0, stored.length - guardBytes);
  const state = decodeRuleState(rule, stepDim, stored.subarray(0, offset));
  for (const vector of guardState) {
    bytesOf(vector).set(stored.subarray(offset, offset + vector.byteLength));
    offset += vector.byteLength;
  }
  return state;
}

/** What a masked round says beside its mean: the loss, unless noise hides single clients, and how many of its groups count. */
function measuresOfMasked({ meanLoss, groups }: OpenedMean, { privacy }: Plan): Measure[] {
  const loss = privacy.unit === 'none' ? [{ name: 'train-loss', value: meanLoss }] : [];
  if (groups === null) return loss;
  const { drawnCount, countedCount } = groups;
  return [...loss, { name: 'groups', value: drawnCount }, { name: 'groups-counted', value: countedCount }];
}

const byName = (left: Measure, right: Measure): number => (left.name < right.name ? -1 : 1);

/** Contributions that are kept whole while they are folded, for rules that look at each. Memory: O(clients x dim). */
function readWhole(contributions: readonly Contribution[], dim: number) {
  const whole = new Map<ClientId, { readonly weight: number; readonly values: Float32Array }>();
  return {
    contributions: contributions.map((contribution): Contribution => {
      const { clientId, weight, scan } = contribution;
      return {
        clientId,
        weight,
        scan: async (take) => {
          const values = new Float32Array(dim);
          let offset = 0;
          await scan((part) => {
            const some = float32Of(part);
            values.set(some, offset);
            offset += some.length;
            take(part);
          });
          whole.set(clientId, { weight, values });
        },
      };
    }),
    /** In client-id order: in that order they were folded. */
    singles: (totalWeight: number): SingleUpdate[] =>
      [...whole.values()].map(({ weight, values }) => ({ share: weight / totalWeight, values })),
  };
}

/** Lets the event loop answer clients between two maps, each of which may take a second. */
function giveTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
