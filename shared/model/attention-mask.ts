/** What attention adds to its scores so that no token sees padding or, in decoders, what comes after it. */
import {
  add,
  cast,
  mul,
  reshape,
  sub,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tensor3d,
  tidy,
  tile,
} from '@tensorflow/tfjs-core';

/** Far below every score, and twice of it still is a finite float32: a softmax gives exactly 0 where it was added. */
const hiddenScore = 1e9;

/**
 * The mask of a batch: `[batch * heads, 1, sequence]`, or `[batch * heads, sequence, sequence]` where `causal`.
 * @param attentionMask `[batch, sequence]` int32: 1 on tokens, 0 on padding.
 */
export function attentionMaskOf(attentionMask: Tensor2D, headCount: number, causal: boolean): Tensor3D {
  return tidy(() => {
    const [batchSize, sequenceLength] = attentionMask.shape;
    const padding = mul(sub(cast(attentionMask, 'float32'), 1), hiddenScore);
    const byHead = tile(reshape(padding, [batchSize, 1, sequenceLength]), [1, headCount, 1]);
    const rows: Tensor3D = reshape(byHead, [batchSize * headCount, 1, sequenceLength]);
    return causal ? add(rows, futureMask(sequenceLength)) : rows;
  });
}

/** A mask `[batch, sequence]` without what comes after one token of every text. */
export function seenFrom(attentionMask: Tensor2D, places: readonly number[]): Tensor2D {
  const [batchSize, sequenceLength] = attentionMask.shape;
  const seen = new Int32Array(batchSize * sequenceLength);
  for (const [text, place] of places.entries()) seen.fill(1, text * sequenceLength, text * sequenceLength + place + 1);
  return mul(attentionMask, tensor2d(seen, attentionMask.shape, 'int32'));
}

/** Hides what comes after a token: `[1, sequence, seen]` for the last `sequence` of `seen` tokens. */
export function futureMask(sequenceLength: number, seenCount = sequenceLength): Tensor3D {
  const values = new Float32Array(sequenceLength * seenCount);
  for (let query = 0; query < sequenceLength; query++) {
    const later = seenCount - sequenceLength + query + 1;
    values.fill(-hiddenScore, query * seenCount + later, (query + 1) * seenCount);
  }
  return tensor3d(values, [1, sequenceLength, seenCount]);
}
