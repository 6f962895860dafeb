/** Puts tensors of a checkpoint on the back end. */
import {
  gather,
  reshape,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { type FrozenNorm, frozenNorm } from '../compute/layer-norm.ts';
import { type FrozenLinear, frozenLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { CheckpointTensors } from './checkpoint.ts';
import { tensorValues } from './safetensors.ts';

/** Reads weights by name; every call allocates. */
export interface Weights {
  has(name: string): boolean;
  vector(name: string): Tensor1D;
  matrix(name: string): Tensor2D;
  /** The transpose of a matrix. */
  transposed(name: string): Tensor2D;
  /** A linear map `<name>.weight`, `<name>.bias`; `layout` says how the file holds W. The bias may be absent. */
  linear(name: string, layout: 'in-out' | 'out-in'): FrozenLinear;
  norm(name: string, epsilon: number): FrozenNorm;
}

/** Reads from matched tensors. */
export function weightsOf(tensors: CheckpointTensors): Weights {
  const entryOf = (name: string) => {
    const entry = tensors.get(name);
    assert(entry !== undefined, `the checkpoint was matched without ${name}`);
    return entry;
  };
  const weights: Weights = {
    has: (name) => tensors.has(name),
    vector: (name) => tensor1d(tensorValues(entryOf(name))),
    matrix: (name) => {
      const entry = entryOf(name);
      return tensor2d(tensorValues(entry), entry.shape as [number, number]);
    },
    transposed: (name) => {
      const entry = entryOf(name);
      const [rowCount, columnCount] = entry.shape as [number, number];
      return tensor2d(transposedValues(tensorValues(entry), rowCount, columnCount), [columnCount, rowCount]);
    },
    linear: (name, layout) => {
      const weight = layout === 'in-out' ? weights.matrix(`${name}.weight`) : weights.transposed(`${name}.weight`);
      return frozenLinear(weight, weights.has(`${name}.bias`) ? weights.vector(`${name}.bias`) : null);
    },
    norm: (name, epsilon) => frozenNorm(weights.vector(`${name}.weight`), weights.vector(`${name}.bias`), epsilon),
  };
  return weights;
}

/** Rows of a table `[rows, size]` for ids `[batch, sequence]` → `[batch, sequence, size]`. */
export function rowsOf(table: Tensor2D, ids: Tensor2D): Tensor3D {
  return reshape(gather(table, reshape(ids, [-1])), [...ids.shape, table.shape[1]]);
}

const tileSize = 32;

/** The transpose of a row-major matrix, tile by tile so that both sides stay in the cache. */
function transposedValues(values: Float32Array, rowCount: number, columnCount: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let rowStart = 0; rowStart < rowCount; rowStart += tileSize) {
    const rowEnd = Math.min(rowStart + tileSize, rowCount);
    for (let columnStart = 0; columnStart < columnCount; columnStart += tileSize) {
      const columnEnd = Math.min(columnStart + tileSize, columnCount);
      for (let row = rowStart; row < rowEnd; row++) {
        for (let column = columnStart; column < columnEnd; column++)
          result[column * rowCount + row] = values[row * columnCount + column]!;
      }
    }
  }
  return result;
}
