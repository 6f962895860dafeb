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
  type Tensor2D,
  type Tensor3D,
  transpose,
} from '@tensorflow/tfjs-core';
import { batchedProduct, type Selection } from './batched-product.ts';
import { withGradient } from './custom-gradient.ts';

/** The shape of an attention: every row of its inputs is one token, sequences one after the other. */
export interface AttentionShape {
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly headCount: number;
}

/**
 * Attention of `[batch * sequence, hidden]` queries, keys and values → `[batch * sequence, hidden]`.
 * @param mask what is added to the scaled scores: `[batch * heads, 1 or sequence, sequence]`, 0 where a token may be seen, else far below 0.
 */
export function attention(q: Tensor2D, k: Tensor2D, v: Tensor2D, mask: Tensor3D, shape: AttentionShape): Tensor2D {
  return withGradient([q, k, v], (...inputs: [Tensor2D, Tensor2D, Tensor2D]) => {
    const [queries, keys, values] = inputs.map((input) => splitHeads(input, shape)) as [Tensor3D, Tensor3D, Tensor3D];
    const { probabilities, mixed } = attend({ queries, keys, values }, mask);
    return {
      value: mergeHeads(mixed, shape),
      saved: [queries, keys, values, probabilities, mixed],
      backward: (upstream: Tensor2D, saved) => {
        const [savedQueries, savedKeys, savedValues, p, output] = saved as Tensor3D[];
        const heads = { queries: savedQueries!, keys: savedKeys!, values: savedValues! };
        const gradients = attendBackward(splitHeads(upstream, shape), heads, p!, output!);
        return gradients.map((gradient) => mergeHeads(gradient, shape));
      },
    };
  });
}

/** {@link attention} of queries, keys and values side by side: `[batch * sequence, 3 * hidden]` → `[batch * sequence, hidden]`. */
export function fusedAttention(qkv: Tensor2D, mask: Tensor3D, shape: AttentionShape): Tensor2D {
  const threefold = { ...shape, headCount: 3 * shape.headCount };
  const pick = { queries: thirdOf(0, shape), keys: thirdOf(1, shape), values: thirdOf(2, shape) };
  return withGradient([qkv], (input: Tensor2D) => {
    const all = splitHeads(input, threefold);
    const { probabilities, mixed } = attend({ queries: all, keys: all, values: all, pick }, mask);
    return {
      value: mergeHeads(mixed, shape),
      saved: [all, probabilities, mixed],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, p, output] = saved as [Tensor3D, Tensor3D, Tensor3D];
        const heads = { queries: kept, keys: kept, values: kept, pick };
        const gradients = attendBackward(splitHeads(upstream, shape), heads, p, output);
        const byExample = gradients.map((gradient): Tensor2D => reshape(gradient, [shape.batchSize, -1]));
        return [mergeHeads(reshape(concat(byExample, 1), kept.shape), threefold)];
      },
    };
  });
}

/** Stacks of heads `[*, sequence, headSize]`; where one stack holds all, `pick` says which of its matrices are whose. */
interface Heads {
  readonly queries: Tensor3D;
  readonly keys: Tensor3D;
  readonly values: Tensor3D;
  readonly pick?: Readonly<Record<'queries' | 'keys' | 'values', Selection>>;
}

function attend({ queries, keys, values, pick }: Heads, mask: Tensor3D): { probabilities: Tensor3D; mixed: Tensor3D } {
  const scores = batchedProduct(queries, turned(keys), { a: pick?.queries, b: pick?.keys });
  const probabilities = softmax(add(mul(scores, scaleOf(queries)), mask) as Tensor3D);
  return { probabilities, mixed: batchedProduct(probabilities, values, { b: pick?.values }) };
}

/** Gradients of queries, keys and values, each `[batch * heads, sequence, headSize]`. */
function attendBackward(
  gradient: Tensor3D,
  { queries, keys, values, pick }: Heads,
  p: Tensor3D,
  output: Tensor3D,
): Tensor3D[] {
  const probabilityGradient = batchedProduct(gradient, turned(values), { b: pick?.values });
  const rowSums = sum(mul(gradient, output), 2, true);
  const scoreGradient: Tensor3D = mul(mul(p, sub(probabilityGradient, rowSums)), scaleOf(queries));
  return [
    batchedProduct(scoreGradient, keys, { b: pick?.keys }),
    batchedProduct(turned(scoreGradient), queries, { b: pick?.queries }),
    batchedProduct(turned(p), gradient),
  ];
}

function scaleOf(heads: Tensor3D): number {
  return 1 / Math.sqrt(heads.shape[2]);
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
function splitHeads(rows: Tensor2D, { batchSize, sequenceLength, headCount }: AttentionShape): Tensor3D {
  const headSize = rows.shape[1] / headCount;
  const byToken = reshape(rows, [batchSize, sequenceLength, headCount, headSize]);
  return reshape(transpose(byToken, [0, 2, 1, 3]), [batchSize * headCount, sequenceLength, headSize]);
}

/** `[batch * heads, sequence, headSize]` → `[batch * sequence, heads * headSize]`. */
function mergeHeads(heads: Tensor3D, { batchSize, sequenceLength, headCount }: AttentionShape): Tensor2D {
  const headSize = heads.shape[2];
  const byHead = reshape(heads, [batchSize, headCount, sequenceLength, headSize]);
  return reshape(transpose(byHead, [0, 2, 1, 3]), [batchSize * sequenceLength, headCount * headSize]);
}
