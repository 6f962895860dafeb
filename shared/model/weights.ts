/** Puts tensors of a checkpoint on the back end, each from where it lies to where it computes. */
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { type CompactMatrix, compactMatrix, type FrozenPrecision } from '../compute/compact-matrix.ts';
import { filledTensor } from '../compute/filled-tensor.ts';
import { frozenNorm } from '../compute/layer-norm.ts';
import { compactLinear, frozenLinear } from '../compute/products.ts';
import { frozenRmsNorm } from '../compute/rms-norm.ts';
import { assert } from '../core/assert.ts';
import type { CheckpointTensors } from './checkpoint.ts';
import {
  type NamedLinear,
  type NamedNorm,
  type NamedTable,
  namedLinear,
  namedNorm,
  namedTable,
} from './named-weights.ts';
import type { StoredTensor } from './safetensors-header.ts';
import { fillTransposed, fillValues } from './stored-tensor.ts';

/** Reads weights by name; every call allocates. */
export interface Weights {
  has(name: string): boolean;
  vector(name: string): Tensor1D;
  matrix(name: string): Tensor2D;
  /** The transpose of a matrix. */
  transposed(name: string): Tensor2D;
  /** A linear map `<name>.weight`, `<name>.bias`; `layout` says how the file holds W. The bias may be absent. */
  linear(name: string, layout: 'in-out' | 'out-in'): NamedLinear;
  /** A layer norm `<name>.weight`, `<name>.bias`. */
  norm(name: string, epsilon: number): NamedNorm;
  /** A root-mean-square norm `<name>.weight`. */
  rmsNorm(name: string, epsilon: number): NamedNorm;
  /** An embedding `<name>.weight`. */
  table(name: string): NamedTable;
}

/** Reads from matched tensors. @param precision how the weights of linear maps are kept; embeddings and norms stay as they are. */
export function weightsOf(tensors: CheckpointTensors, precision: FrozenPrecision = 'float32'): Weights {
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
      const compact = precision === 'float32' ? null : compactWeight(storedOf(`${name}.weight`), layout, precision);
      if (compact !== null)
        return namedLinear(
          name,
          compactLinear(compact, weights.has(`${name}.bias`) ? weights.vector(`${name}.bias`) : null),
        );
      const weight = layout === 'in-out' ? weights.matrix(`${name}.weight`) : weights.transposed(`${name}.weight`);
      const bias = weights.has(`${name}.bias`) ? weights.vector(`${name}.bias`) : null;
      return namedLinear(name, frozenLinear(weight, bias));
    },
    norm: (name, epsilon) => {
      const gain = weights.vector(`${name}.weight`);
      return namedNorm(name, frozenNorm(gain, weights.vector(`${name}.bias`), epsilon));
    },
    rmsNorm: (name, epsilon) => namedNorm(name, frozenRmsNorm(weights.vector(`${name}.weight`), epsilon)),
    table: (name) => namedTable(name, weights.matrix(`${name}.weight`)),
  };
  return weights;
}

/** W `[in, out]` of a linear map in a smaller form; only this matrix is ever whole in float32. Null where it cannot be. */
function compactWeight(
  stored: StoredTensor,
  layout: 'in-out' | 'out-in',
  precision: Exclude<FrozenPrecision, 'float32'>,
): CompactMatrix | null {
  const [rows, columns] = stored.shape as [number, number];
  const values = new Float32Array(rows * columns);
  if (layout === 'in-out') fillValues(stored, values);
  else fillTransposed(stored, values);
  return compactMatrix(values, layout === 'in-out' ? [rows, columns] : [columns, rows], precision);
}
