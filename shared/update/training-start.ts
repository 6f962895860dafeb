/**
 * From what is published to where a client begins, and back to what it measures. Every client of a round begins with the very function that was
 * published: what it does not train itself, rows of pairs beyond its rank, stays active beside it, frozen.
 */
import { assert } from '../core/assert.ts';
import type { Exchange } from './exchange.ts';
import { restarts } from './exchange.ts';
import type { LowRankPair } from './federated-layout.ts';
import { pairsOf } from './federated-layout.ts';
import type { AdapterLayout } from './layout.ts';

/** Where one client's training begins. */
export interface TrainingStart {
  /** `[trained dim]`, of the caller. */
  readonly start: Float32Array;
  /** `[published dim]`: pairs that act beside the trained ones and stay as they are, all else 0; null where there are none. */
  readonly frozen: Float32Array | null;
}

/** What a start is made of. */
export interface TrainingStartOptions {
  readonly published: Float32Array;
  /** Largest rank that this client trains; null for the plan's. */
  readonly rankMax: number | null;
  /** Values of this client's own parts, `[personalDim]`; null before its first round. */
  readonly personal: Float32Array | null;
  /** Fresh start values `[trained dim]` of this round; asked for where the rule restarts. */
  readonly fresh: () => Float32Array;
}

/** Where a client begins. Lends nothing: what it returns is new, except that a plain exchange hands `published` on. */
export function trainingStartOf(exchange: Exchange, options: TrainingStartOptions): TrainingStart {
  const { published: layout, trained } = exchange;
  const { published, rankMax, personal, fresh } = options;
  assert(published.length === layout.dim, 'what is published has the length of its layout');
  const isWhole =
    layout.dim === trained.dim && (rankMax === null || exchange.pairs.every((pair) => pair.trained.rank <= rankMax));
  if (isWhole && !restarts(exchange)) {
    return { start: personal === null ? published : withPersonal(exchange, published, personal), frozen: null };
  }
  const start = restarts(exchange) ? fresh().slice() : new Float32Array(trained.dim);
  const frozen = new Float32Array(layout.dim);
  const paired = new Set(exchange.pairs.flatMap((pair) => [pair.trained.a.name, pair.trained.b.name]));
  for (const [index, tensor] of trained.tensors.entries()) {
    if (!paired.has(tensor.name)) copyTensor(published, layout.tensors[index]!, start, tensor);
  }
  for (const { published: whole, trained: own } of exchange.pairs) {
    const rank = Math.min(own.rank, rankMax ?? own.rank);
    // A client's own pair is not what others published: it begins where it was, and nothing of it acts beside it.
    if (own.b.aggregationClass !== 'local') copyRanks(published, whole, frozen, whole, { from: 0, to: whole.rank });
    if (restarts(exchange)) {
      clearRanks(start, own, rank, own.rank);
    } else {
      copyRanks(published, whole, start, own, { from: 0, to: rank });
      clearRanks(frozen, whole, 0, rank);
    }
  }
  return {
    start: personal === null ? start : withPersonal(exchange, start, personal),
    frozen: frozen.some((value) => value !== 0) ? frozen : null,
  };
}

/**
 * What is published before the first round, from the start values of what is trained: further ranks are 0, and so is the whole of pairs that
 * every round begins afresh.
 */
export function firstPublished(exchange: Exchange, initial: Float32Array): Float32Array {
  const { published: layout, trained } = exchange;
  if (layout.dim === trained.dim && !restarts(exchange)) return initial;
  const published = new Float32Array(layout.dim);
  for (const [index, tensor] of trained.tensors.entries()) {
    if (restarts(exchange) && tensor.aggregationClass === 'low-rank') continue;
    copyTensor(initial, tensor, published, layout.tensors[index]!);
  }
  return published;
}

/** The part of a pair between two ranks. */
interface RankRange {
  readonly from: number;
  readonly to: number;
}

function copyRanks(
  source: Float32Array,
  of: LowRankPair,
  target: Float32Array,
  into: LowRankPair,
  { from, to }: RankRange,
): void {
  const [start, end] = [of.a.offset + from * of.inSize, of.a.offset + to * of.inSize];
  target.set(source.subarray(start, end), into.a.offset + from * into.inSize);
  for (let row = 0; row < of.outSize; row++) {
    const place = of.b.offset + row * of.rank;
    target.set(source.subarray(place + from, place + to), into.b.offset + row * into.rank + from);
  }
}

function clearRanks(
  values: Float32Array,
  { a, b, rank, inSize, outSize }: LowRankPair,
  from: number,
  to: number,
): void {
  values.fill(0, a.offset + from * inSize, a.offset + to * inSize);
  for (let row = 0; row < outSize; row++) values.fill(0, b.offset + row * rank + from, b.offset + row * rank + to);
}

type Tensor = AdapterLayout['tensors'][number];

/** Copies a tensor into one of the same name; where a pair has more ranks there, the further ones are cleared. */
function copyTensor(source: Float32Array, from: Tensor, target: Float32Array, to: Tensor): void {
  if (from.size === to.size) {
    target.set(source.subarray(from.offset, from.offset + from.size), to.offset);
    return;
  }
  assert(from.pair !== undefined && from.pair.name === to.pair?.name, `${from.name} has one shape everywhere`);
  target.fill(0, to.offset, to.offset + to.size);
  const isA = from.pair.factor === 'a';
  const rows = isA ? 1 : from.shape[0]!;
  const [fromWidth, toWidth] = [from.size / rows, to.size / rows];
  const width = Math.min(fromWidth, toWidth);
  for (let row = 0; row < rows; row++) {
    const place = from.offset + row * fromWidth;
    target.set(source.subarray(place, place + width), to.offset + row * toWidth);
  }
}

/** A tensor that never leaves the client: as trained, as published, and where it lies in what the client keeps. */
interface OwnTensor {
  readonly trained: Tensor;
  readonly published: Tensor;
  readonly kept: Tensor;
}

/** What a client keeps is in the shape of what is published, so that whoever holds a version can put it in. */
function ownTensors({ trained, published }: Exchange): OwnTensor[] {
  let offset = 0;
  return trained.tensors.flatMap((tensor, index) => {
    if (tensor.aggregationClass !== 'local') return [];
    const whole = published.tensors[index]!;
    const kept = { ...whole, offset };
    offset += whole.size;
    return [{ trained: tensor, published: whole, kept }];
  });
}

/** How many values a client keeps for itself. */
export function personalDim(exchange: Exchange): number {
  return ownTensors(exchange).reduce((sum, { kept }) => sum + kept.size, 0);
}

/** A client's own parts of what it trained, one after the other in the order of the layout and the shape of what is published. */
export function personalOf(exchange: Exchange, trained: Float32Array): Float32Array {
  const values = new Float32Array(personalDim(exchange));
  for (const own of ownTensors(exchange)) copyTensor(trained, own.trained, values, own.kept);
  return values;
}

/** A new vector: `vector` as trained, with a client's own parts in their places. */
function withPersonal(exchange: Exchange, vector: Float32Array, personal: Float32Array): Float32Array {
  assert(personal.length === personalDim(exchange), 'a client keeps its own parts whole');
  const changed = vector.slice();
  for (const own of ownTensors(exchange)) copyTensor(personal, own.kept, changed, own.trained);
  return changed;
}

/** What a client measures: what is published with its own parts in their places. A new vector, unless it has none. */
export function personalised(exchange: Exchange, published: Float32Array, personal: Float32Array | null): Float32Array {
  if (personal === null || personal.length === 0) return published;
  const changed = published.slice();
  for (const own of ownTensors(exchange)) copyTensor(personal, own.kept, changed, own.published);
  return changed;
}

/** Names of pairs of which a client of this largest rank trains a part only. */
export function cappedPairs({ trained }: Exchange, rankMax: number): string[] {
  return pairsOf(trained).flatMap(({ name, rank }) => (rank > rankMax ? [name] : []));
}
