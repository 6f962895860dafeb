/** Puts tensors of a checkpoint on the back end, each from where it lies to where it computes. */
import { gather, reshape, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { filledTensor } from '../compute/filled-tensor.ts';
import { type FrozenNorm, frozenNorm } from '../compute/layer-norm.ts';
import { type FrozenLinear, frozenLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { CheckpointTensors } from './checkpoint.ts';
import { fillTransposed, fillValues } from './stored-tensor.ts';

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
  const made: Tensor[] = [];
  /** Makes a tensor; when it cannot be made, the model cannot either, and nothing of it stays. */
  const make = (shape: readonly number[], fill: (values: Float32Array) => void): Tensor => {
    try {
      made.push(filledTensor(shape, fill));
    } catch (thrown) {
      for (const tensor of made) tensor.dispose();
      throw thrown;
    }
    return made.at(-1)!;
  };
  const storedOf = (name: string) => {
    const stored = tensors.get(name);
    assert(stored !== undefined, `the checkpoint was matched without ${name}`);
    return stored;
  };
  const plain = (name: string): Tensor => {
    const stored = storedOf(name);
    return make(stored.shape, (values) => fillValues(stored, values));
  };
  const weights: Weights = {
    has: (name) => tensors.has(name),
    vector: (name) => plain(name) as Tensor1D,
    matrix: (name) => plain(name) as Tensor2D,
    transposed: (name) => {
      const stored = storedOf(name);
      return make([...stored.shape].reverse(), (values) => fillTransposed(stored, values)) as Tensor2D;
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
