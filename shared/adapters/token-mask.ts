/** Which rows of hidden states are tokens. */
import { concat, ones, slice, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import type { AdapterContext } from './method.ts';

/**
 * The mask `[batch, sequence]` int32 of `states` `[batch, sequence, hidden]`: that of the pass, to whose front belongs what an adapter puts in
 * front of the texts, and of which only the end is there where earlier tokens are in a cache. Undefined where all are tokens.
 */
export function tokenMask(
  { attentionMask }: Pick<AdapterContext, 'attentionMask'>,
  { shape: [batchSize, length] }: Tensor3D,
): Tensor2D | undefined {
  if (attentionMask === undefined) return undefined;
  const known = attentionMask.shape[1];
  if (known === length) return attentionMask;
  if (known > length) return slice(attentionMask, [0, known - length], [batchSize, length]);
  return concat([ones([batchSize, length - known], 'int32') as Tensor2D, attentionMask], 1);
}
