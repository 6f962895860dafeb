/** The states that enter the lowest layer with an adapter, from a cache as far as it has them. */
import { tensor2d, tensor3d, tidy } from '@tensorflow/tfjs-core';
import { bytesOf, toHex } from '../core/bytes.ts';
import { sha256 } from '../crypto/hash.ts';
import type { EncodedBatch } from '../data/batches.ts';
import type { BaseModel, SiteHooks, StatesBelow } from '../model/base-model.ts';
import { frozenLayerCount } from '../model/frozen-layers.ts';
import type { ActivationCache } from './activation-cache.ts';

/** What {@link statesBelow} needs. */
export interface StatesBelowOptions {
  readonly base: BaseModel;
  /** Those of the pass that is to come; their parameters are not read. */
  readonly hooks: SiteHooks;
  readonly cache: ActivationCache;
  readonly batch: EncodedBatch;
  /** Whether the same texts will come again: others are looked up and not kept. */
  readonly isRepeated: boolean;
}

/**
 * States of a batch below the lowest layer at which `hooks` act, which the caller disposes. Null where they act from the first layer on, and
 * where the cache has nothing and takes nothing. Padding has zeros. Rows that are missing are computed at the length of the batch, as without
 * a cache; those that were kept at another length can differ from that in the last digits.
 */
export async function statesBelow(options: StatesBelowOptions): Promise<StatesBelow | null> {
  const { base, hooks, cache, batch, isRepeated } = options;
  const { layerCount, hiddenSize, digest } = base.description;
  const layerIndex = frozenLayerCount(hooks, layerCount);
  if (layerIndex === 0 || base.encodeBelow === undefined || (hooks.positionStart ?? 0) !== 0) return null;
  const { rowCount, sequenceLength, lengths, ids } = batch;
  const idsOf = (row: number) => ids.subarray(row * sequenceLength, row * sequenceLength + lengths[row]!);
  const keys = Array.from({ length: rowCount }, (_, row) => `${digest}/${layerIndex}/${keyOf(idsOf(row))}`);
  const found = keys.map((key) => cache.get(key));
  const missing = found.flatMap((values, row) => (values === null ? [row] : []));
  if (missing.length === rowCount && (cache.isFull || !isRepeated)) return null;
  const rowSize = sequenceLength * hiddenSize;
  const states = new Float32Array(rowCount * rowSize);
  for (const [row, values] of found.entries()) if (values !== null) states.set(values, row * rowSize);
  if (missing.length > 0) {
    const computed = await computeRows(options, missing, layerIndex);
    for (const [place, row] of missing.entries()) {
      const own = computed.subarray(place * rowSize, place * rowSize + lengths[row]! * hiddenSize);
      states.set(own, row * rowSize);
      if (isRepeated) cache.put(keys[row]!, own.slice());
    }
  }
  return { layerIndex, states: tensor3d(states, [rowCount, sequenceLength, hiddenSize]) };
}

function keyOf(ids: Int32Array): string {
  return toHex(sha256(bytesOf(ids)));
}

async function computeRows(
  { base, batch: { ids, lengths, sequenceLength } }: StatesBelowOptions,
  rows: readonly number[],
  layerIndex: number,
): Promise<Float32Array> {
  const shape: [number, number] = [rows.length, sequenceLength];
  const own = new Int32Array(rows.length * sequenceLength);
  const mask = new Int32Array(own.length);
  for (const [place, row] of rows.entries()) {
    const start = place * sequenceLength;
    own.set(ids.subarray(row * sequenceLength, (row + 1) * sequenceLength), start);
    mask.fill(1, start, start + lengths[row]!);
  }
  const states = tidy(() => {
    const batch = { inputIds: tensor2d(own, shape, 'int32'), attentionMask: tensor2d(mask, shape, 'int32') };
    return base.encodeBelow!(batch, layerIndex);
  });
  const values = (await states.data()) as Float32Array;
  states.dispose();
  return values;
}
