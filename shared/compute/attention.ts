/**
 * Scaled dot-product attention (Vaswani 2017, section 3.2) over all heads, with its gradient written out.
 *
 * O = softmax(s Q Kᵀ + M) V with s = 1 / √headSize. Backward, with P the probabilities and g the gradient of O:
 * dV = Pᵀ g; dS = P ∘ (g Vᵀ − rowsum(g ∘ O)); dQ = s dS K; dK = s dSᵀ Q. rowsum(g ∘ O) equals the row sum of P ∘ g Vᵀ and costs less
 * (Dao 2022, appendix B.2).
 *
 * Queries, keys and values come as three tensors or side by side in one, as GPT-2's fused map makes them. Heads are stacked as matrices:
 * in the fused case a stack holds the heads of all three, and products pick theirs by index, so nothing is cut apart.
 */
import {
  add,
  concat,
  mul,
  reshape,
  softmax,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  transpose,
} from '@tensorflow/tfjs-core';
import { batchedProduct, type Selection } from './batched-product.ts';
import { withGradient } from './custom-gradient.ts';
import { hasFused, runFused } from './native/fused-names.ts';

/** The shape of an attention: every row of its inputs is one token, sequences one after the other. */
export interface AttentionShape {
  readonly batchSize: number;
  /** Queries of one sequence. */
  readonly sequenceLength: number;
  readonly headCount: number;
  /** Heads of keys and values; a divisor of `headCount`. */
  readonly keyValueHeadCount: number;
}

/** How rows are cut into heads. */
type Cut = Pick<AttentionShape, 'batchSize' | 'sequenceLength' | 'headCount'>;

/**
 * Attention of `[batch * sequence, heads * headSize]` queries on `[batch * seen, keyValueHeads * headSize]` keys and values, where `seen`
 * tokens are as many as the queries or more → `[batch * sequence, heads * headSize]`. Query head h reads key-value head ⌊h / group⌋ with
 * group = heads / keyValueHeads (Ainslie 2023): the queries of a group are one matrix, so keys and values are not repeated.
 * @param mask what is added to the scaled scores: `[batch * heads, 1 or sequence, seen]`, 0 where a token may be seen, else far below 0.
 */
export function attention(q: Tensor2D, k: Tensor2D, v: Tensor2D, mask: Tensor3D, shape: AttentionShape): Tensor2D {
  if (hasFused('attention')) return wholeAttention([q, k, v], mask, shape);
  const { batchSize, keyValueHeadCount } = shape;
  const seen: Cut = { batchSize, sequenceLength: mask.shape[2], headCount: keyValueHeadCount };
  const grouped = (rows: Tensor2D): Tensor3D => groupedHeads(splitHeads(rows, shape), shape);
  const ungrouped = (heads: Tensor3D): Tensor2D =>
    mergeHeads(reshape(heads, [batchSize * shape.headCount, shape.sequenceLength, heads.shape[2]]), shape);
  return withGradient([q, k, v], (...inputs: [Tensor2D, Tensor2D, Tensor2D]) => {
    const heads = {
      queries: grouped(inputs[0]),
      keys: splitHeads(inputs[1], seen),
      values: splitHeads(inputs[2], seen),
    };
    const { probabilities, mixed } = attend(heads, mask, shape);
    return {
      value: ungrouped(mixed),
      saved: [heads.queries, heads.keys, heads.values, probabilities, mixed],
      backward: (upstream: Tensor2D, saved) => {
        const [queries, keys, values, p, output] = saved as [Tensor3D, Tensor3D, Tensor3D, Tensor3D, Tensor3D];
        const gradients = attendBackward(grouped(upstream), { queries, keys, values }, p, output);
        return [ungrouped(gradients[0]!), mergeHeads(gradients[1]!, seen), mergeHeads(gradients[2]!, seen)];
      },
    };
  });
}

/** {@link attention} of queries, keys and values side by side, as many heads of each: `[batch * sequence, 3 * hidden]` → `[batch * sequence, hidden]`. */
export function fusedAttention(qkv: Tensor2D, mask: Tensor3D, shape: AttentionShape): Tensor2D {
  if (hasFused('attention')) return wholeAttention([qkv], mask, shape);
  const threefold = { ...shape, headCount: 3 * shape.headCount };
  const pick = { queries: thirdOf(0, shape), keys: thirdOf(1, shape), values: thirdOf(2, shape) };
  return withGradient([qkv], (input: Tensor2D) => {
    const all = splitHeads(input, threefold);
    const { probabilities, mixed } = attend({ queries: all, keys: all, values: all, pick }, mask, shape);
    return {
      value: mergeHeads(mixed, shape),
      saved: [all, probabilities, mixed],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, p, output] = saved as [Tensor3D, Tensor3D, Tensor3D];
        const heads = { queries: kept, keys: kept, values: kept, pick };
        const gradients = attendBackward(splitHeads(upstream, shape), heads, p, output);
        const ofExample = shape.headCount * shape.sequenceLength * kept.shape[2];
        const byExample = gradients.map((gradient): Tensor2D => reshape(gradient, [shape.batchSize, ofExample]));
        return [mergeHeads(reshape(concat(byExample, 1), kept.shape), threefold)];
      },
    };
  });
}

/** Keys and values of tokens that later queries see, by head: keys turned, `[batch * keyValueHeads, headSize, seen]`. */
export interface SeenHeads {
  readonly turnedKeys: Tensor3D;
  /** `[batch * keyValueHeads, seen, headSize]`. */
  readonly values: Tensor3D;
}

/** Cuts keys and values `[batch * sequence, keyValueHeads * headSize]` into heads. */
export function seenHeads(k: Tensor2D, v: Tensor2D, { batchSize, keyValueHeadCount }: AttentionShape): SeenHeads {
  const cut: Cut = { batchSize, sequenceLength: k.shape[0] / batchSize, headCount: keyValueHeadCount };
  return { turnedKeys: turned(splitHeads(k, cut)), values: splitHeads(v, cut) };
}

/** {@link attention} on heads that are cut already; it has no gradient. Without a mask every query sees everything. */
export function attentionOnSeen(
  q: Tensor2D,
  { turnedKeys, values }: SeenHeads,
  mask: Tensor3D | null,
  shape: AttentionShape,
): Tensor2D {
  const heads = splitHeads(q, shape);
  const scores = batchedProduct(groupedHeads(heads, shape), turnedKeys);
  const mixed = batchedProduct(probabilitiesOf(scores, heads.shape[2], mask, shape), values);
  return mergeHeads(reshape(mixed, heads.shape), shape);
}

/** Either form where the back end computes it as a whole: of three tensors, or of one that holds them side by side. */
function wholeAttention(sources: readonly Tensor2D[], mask: Tensor3D, shape: AttentionShape): Tensor2D {
  const named = (tensors: readonly Tensor[]): Record<string, Tensor> => {
    const [first, second, third] = tensors as [Tensor, Tensor?, Tensor?];
    return second === undefined || third === undefined ? { qkv: first } : { q: first, k: second, v: third };
  };
  const { batchSize, sequenceLength, headCount, keyValueHeadCount } = shape;
  const sizes = { batchSize, sequenceLength, headCount, keyValueHeadCount };
  return withGradient(sources, (...inputs: readonly Tensor2D[]) => {
    const [value, probabilities] = runFused('attention', { ...named(inputs), mask }, sizes) as [Tensor2D, Tensor3D];
    return {
      value,
      saved: [...inputs, probabilities, value],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, output] = saved.slice(-2) as [Tensor3D, Tensor2D];
        const again = named(saved.slice(0, -2));
        return runFused('attentionGradient', { ...again, probabilities: kept, output, upstream }, sizes);
      },
    };
  });
}

/** Stacks of heads `[*, rows, headSize]`; where one stack holds all, `pick` says which of its matrices are whose. */
interface Heads {
  readonly queries: Tensor3D;
  readonly keys: Tensor3D;
  readonly values: Tensor3D;
  readonly pick?: Readonly<Record<'queries' | 'keys' | 'values', Selection>>;
}

function attend(
  { queries, keys, values, pick }: Heads,
  mask: Tensor3D,
  shape: AttentionShape,
): { probabilities: Tensor3D; mixed: Tensor3D } {
  const scores = batchedProduct(queries, turned(keys), { a: pick?.queries, b: pick?.keys });
  const probabilities = probabilitiesOf(scores, queries.shape[2], mask, shape);
  return { probabilities, mixed: batchedProduct(probabilities, values, { b: pick?.values }) };
}

/** softmax(s scores + M), where a mask has one matrix per query head, or one for all, and scores have one per key-value head. */
function probabilitiesOf(
  scores: Tensor3D,
  headSize: number,
  mask: Tensor3D | null,
  { batchSize, headCount, sequenceLength }: AttentionShape,
): Tensor3D {
  const scaled = mul(scores, 1 / Math.sqrt(headSize));
  if (mask === null) return softmax(scaled as Tensor3D);
  const byHead: Tensor3D = reshape(scaled, [batchSize * headCount, sequenceLength, scores.shape[2]]);
  return reshape(softmax(add(byHead, mask)), scores.shape);
}

/** Gradients of queries, keys and values, each in the shape of its stack, or of what was picked of it. */
function attendBackward(
  gradient: Tensor3D,
  { queries, keys, values, pick }: Heads,
  p: Tensor3D,
  output: Tensor3D,
): Tensor3D[] {
  const probabilityGradient = batchedProduct(gradient, turned(values), { b: pick?.values });
  const rowSums = sum(mul(gradient, output), 2, true);
  const scoreGradient: Tensor3D = mul(mul(p, sub(probabilityGradient, rowSums)), 1 / Math.sqrt(queries.shape[2]));
  return [
    batchedProduct(scoreGradient, keys, { b: pick?.keys }),
    batchedProduct(turned(scoreGradient), queries, { b: pick?.queries }),
    batchedProduct(turned(p), gradient),
  ];
}

function turned(stack: Tensor3D): Tensor3D {
  return transpose(stack, [0, 2, 1]);
}

/** Indices of the queries (0), keys (1) or values (2) in a stack of `[batch, 3, heads]` matrices. */
function thirdOf(third: number, { batchSize, headCount }: AttentionShape): number[] {
  return Array.from({ length: batchSize * headCount }, (_, index) => {
    const example = Math.floor(index / headCount);
    return (3 * example + third) * headCount + (index % headCount);
  });
}

/** `[batch * sequence, heads * headSize]` → `[batch * heads, sequence, headSize]`. */
function splitHeads(rows: Tensor2D, { batchSize, sequenceLength, headCount }: Cut): Tensor3D {
  const headSize = rows.shape[1] / headCount;
  const byToken = reshape(rows, [batchSize, sequenceLength, headCount, headSize]);
  return reshape(transpose(byToken, [0, 2, 1, 3]), [batchSize * headCount, sequenceLength, headSize]);
}

/** The queries that read one key-value head as one matrix: `[batch * heads, sequence, headSize]` → `[batch * keyValueHeads, group * sequence, headSize]`. */
function groupedHeads(
  heads: Tensor3D,
  { batchSize, sequenceLength, headCount, keyValueHeadCount }: AttentionShape,
): Tensor3D {
  const rows = (headCount / keyValueHeadCount) * sequenceLength;
  return reshape(heads, [batchSize * keyValueHeadCount, rows, heads.shape[2]]);
}

/** `[batch * heads, sequence, headSize]` → `[batch * sequence, heads * headSize]`. */
function mergeHeads(heads: Tensor3D, { batchSize, sequenceLength, headCount }: Cut): Tensor2D {
  const headSize = heads.shape[2];
  const byHead = reshape(heads, [batchSize, headCount, sequenceLength, headSize]);
  return reshape(transpose(byHead, [0, 2, 1, 3]), [batchSize * sequenceLength, headCount * headSize]);
}
