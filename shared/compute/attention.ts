/**
 * Scaled dot-product attention (Vaswani 2017, section 3.2) over all heads, with its gradient written out.
 *
 * O = softmax(s Q Kᵀ + M) V with s = 1 / √headSize. Backward, with P the probabilities and g the gradient of O:
 * dV = Pᵀ g; dS = P ∘ (g Vᵀ − rowsum(g ∘ O)); dQ = s dS K; dK = s dSᵀ Q. rowsum(g ∘ O) equals the row sum of P ∘ g Vᵀ and costs less
 * (Dao 2022, appendix B.2).
 */
import {
  add,
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
import { withGradient } from './custom-gradient.ts';
import { batchedProduct } from './products.ts';

/** The shape of an attention: every row of q, k and v is one token, sequences one after the other. */
export interface AttentionShape {
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly headCount: number;
}

/**
 * Attention of `[batch * sequence, hidden]` queries, keys and values → `[batch * sequence, hidden]`.
 * @param mask what is added to the scaled scores: `[batch * heads, 1 or sequence, sequence]`, 0 where a token may be seen, else {@link hidden}.
 */
export function attention(q: Tensor2D, k: Tensor2D, v: Tensor2D, mask: Tensor3D, shape: AttentionShape): Tensor2D {
  return withGradient([q, k, v], (queries: Tensor2D, keys: Tensor2D, values: Tensor2D) => {
    const scale = 1 / Math.sqrt(queries.shape[1] / shape.headCount);
    const scaledQueries = mul(splitHeads(queries, shape), scale);
    const scores = add(batchedProduct(scaledQueries, splitHeadsTransposed(keys, shape)), mask);
    const probabilities = softmax(scores);
    const output = mergeHeads(batchedProduct(probabilities, splitHeads(values, shape)), shape);
    return {
      value: output,
      saved: [scaledQueries, keys, values, probabilities, output],
      backward: (upstream: Tensor2D, saved) => {
        const [savedQueries, savedKeys, savedValues, p, savedOutput] = saved as [
          Tensor,
          Tensor2D,
          Tensor2D,
          Tensor,
          Tensor2D,
        ];
        const gradient = splitHeads(upstream, shape);
        const valueGradient = batchedProduct(transpose(p, [0, 2, 1]), gradient);
        const probabilityGradient = batchedProduct(gradient, splitHeadsTransposed(savedValues, shape));
        const rowSums = sum(splitHeads(mul(upstream, savedOutput), shape), 2, true);
        const scoreGradient = mul(p, sub(probabilityGradient, rowSums));
        const queryGradient = mul(batchedProduct(scoreGradient, splitHeads(savedKeys, shape)), scale);
        const keyGradient = batchedProduct(transpose(scoreGradient, [0, 2, 1]), savedQueries);
        return [queryGradient, keyGradient, valueGradient].map((part) => mergeHeads(part, shape));
      },
    };
  });
}

/** `[batch * sequence, hidden]` → `[batch * heads, sequence, headSize]`. */
function splitHeads(rows: Tensor2D, shape: AttentionShape): Tensor {
  const { batchSize, sequenceLength, headCount } = shape;
  const headSize = rows.shape[1] / headCount;
  const byToken = reshape(rows, [batchSize, sequenceLength, headCount, headSize]);
  return reshape(transpose(byToken, [0, 2, 1, 3]), [batchSize * headCount, sequenceLength, headSize]);
}

/** `[batch * sequence, hidden]` → `[batch * heads, headSize, sequence]`. */
function splitHeadsTransposed(rows: Tensor2D, shape: AttentionShape): Tensor {
  const { batchSize, sequenceLength, headCount } = shape;
  const headSize = rows.shape[1] / headCount;
  const byToken = reshape(rows, [batchSize, sequenceLength, headCount, headSize]);
  return reshape(transpose(byToken, [0, 2, 3, 1]), [batchSize * headCount, headSize, sequenceLength]);
}

/** `[batch * heads, sequence, headSize]` → `[batch * sequence, hidden]`. */
function mergeHeads(heads: Tensor, shape: AttentionShape): Tensor2D {
  const { batchSize, sequenceLength, headCount } = shape;
  const headSize = heads.shape[2]!;
  const byHead = reshape(heads, [batchSize, headCount, sequenceLength, headSize]);
  return reshape(transpose(byHead, [0, 2, 1, 3]), [batchSize * sequenceLength, headCount * headSize]);
}
