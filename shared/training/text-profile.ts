/** What texts are about, as the frozen base alone sees it: the profile by which adapters are chosen for them. */
import { cast, div, expandDims, mul, sum, type Tensor2D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { type Profile, profileOf } from '../adapters/composition/similarity.ts';
import { batchOf, sortedBatches } from '../data/batches.ts';
import type { BaseModel } from '../model/base-model.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { nextTurn } from './turn.ts';

/** Texts of one batch. */
const batchSize = 32;

/** What {@link profileTexts} needs. */
export interface ProfileOptions {
  readonly base: BaseModel;
  readonly tokenizer: Pick<Tokenizer, 'encode' | 'padId'>;
  readonly texts: readonly string[];
  /** Longest text in tokens; longer ones are cut. */
  readonly lengthMax: number;
  readonly signal?: AbortSignal;
}

/** The mean direction of the texts' mean last hidden states (without padding). Texts without a token are left out. */
export async function profileTexts({ base, tokenizer, texts, lengthMax, signal }: ProfileOptions): Promise<Profile> {
  const most = Math.min(lengthMax, base.description.positionsMax);
  const encoded = texts.map((text) => ({ ids: tokenizer.encode(text, most) })).filter(({ ids }) => ids.length > 0);
  const states: Float32Array[] = [];
  for (const indices of sortedBatches(
    encoded.map(({ ids }) => ids.length),
    batchSize,
  )) {
    signal?.throwIfAborted();
    const batch = batchOf(
      indices.map((index) => encoded[index]!),
      tokenizer.padId,
      most,
    );
    const pooled = tidy(() => {
      const shape: [number, number] = [batch.rowCount, batch.sequenceLength];
      const mask = new Int32Array(batch.rowCount * batch.sequenceLength);
      for (const [row, length] of batch.lengths.entries())
        mask.fill(1, row * batch.sequenceLength, row * batch.sequenceLength + length);
      const attentionMask = tensor2d(mask, shape, 'int32');
      const hidden = base.encode({ inputIds: tensor2d(batch.ids, shape, 'int32'), attentionMask });
      const weights = expandDims(cast(attentionMask, 'float32'), 2);
      return div(sum(mul(hidden, weights), 1), sum(weights, 1)) as Tensor2D;
    });
    const values = (await pooled.data()) as Float32Array;
    const { hiddenSize } = base.description;
    for (let row = 0; row < batch.rowCount; row++) states.push(values.slice(row * hiddenSize, (row + 1) * hiddenSize));
    pooled.dispose();
    await nextTurn();
  }
  return profileOf(states);
}
