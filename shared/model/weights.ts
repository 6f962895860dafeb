/** Puts tensors of a checkpoint on the back end, each from where it lies to where it computes. */
import { getBackend, type Tensor, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { type CompactMatrix, compactMatrix, type FrozenPrecision, storedMatrix } from '../compute/compact-matrix.ts';
import { filledTensor } from '../compute/filled-tensor.ts';
import { frozenNorm } from '../compute/layer-norm.ts';
import { compactLinear, frozenLinear } from '../compute/products.ts';
import { frozenRmsNorm } from '../compute/rms-norm.ts';
import { halvesPlaceFor } from '../compute/shared-weights.ts';
import { assert } from '../core/assert.ts';
import type { CheckpointTensors } from './checkpoint.ts';
import {
  type NamedLinear,
  type NamedNorm,
  type NamedTable,
  namedCompactTable,
  namedLinear,
  namedNorm,
  namedTable,
} from './named-weights.ts';
import type { StoredTensor } from './safetensors-header.ts';
import { fillHalves, fillTransposed, fillValues, valueCountOf } from './stored-tensor.ts';

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

/** From this size on a base in sixteen bits stays as it is; of smaller ones float32 costs less than widening at every product. */
const largeBytesMin = 64 * 2 ** 20;

/** Back ends that compute in the process's memory, where a matrix can be widened in front of a product. */
const widening = ['native', 'wasm', 'cpu'];

/** Whether matrices in sixteen bits stay as the file holds them. */
function keepsHalves(tensors: CheckpointTensors, precision: FrozenPrecision): boolean {
  if (precision !== 'auto') return precision === 'file';
  const halfBytes = [...tensors.values()].reduce((sum, one) => sum + (one.dtype === 'F32' ? 0 : one.byteCount), 0);
  return halfBytes >= largeBytesMin && widening.includes(getBackend());
}

/**
 * Reads from matched tensors.
 * @param precision how linear maps are kept; `file` and `auto` mean embeddings too. Norms and biases are float32.
 */
export function weightsOf(tensors: CheckpointTensors, precision: FrozenPrecision = 'auto'): Weights {
  const isKept = keepsHalves(tensors, precision);
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
      const biasOf = () => (weights.has(`${name}.bias`) ? weights.vector(`${name}.bias`) : null);
      const stored = storedOf(`${name}.weight`);
      if (isKept && stored.dtype !== 'F32') return namedLinear(name, compactLinear(asStored(stored), biasOf(), layout));
      const isSmaller = precision === 'float16' || precision === 'int8';
      const compact = isSmaller ? compactWeight(stored, layout, precision) : null;
      if (compact !== null) return namedLinear(name, compactLinear(compact, biasOf()));
      const weight = layout === 'in-out' ? weights.matrix(`${name}.weight`) : weights.transposed(`${name}.weight`);
      return namedLinear(name, frozenLinear(weight, biasOf()));
    },
    norm: (name, epsilon) => {
      const gain = weights.vector(`${name}.weight`);
      return namedNorm(name, frozenNorm(gain, weights.vector(`${name}.bias`), epsilon));
    },
    rmsNorm: (name, epsilon) => namedNorm(name, frozenRmsNorm(weights.vector(`${name}.weight`), epsilon)),
    table: (name) => {
      const stored = storedOf(`${name}.weight`);
      if (isKept && stored.dtype !== 'F32') return namedCompactTable(name, asStored(stored));
      return namedTable(name, weights.matrix(`${name}.weight`));
    },
  };
  return weights;
}

/** A matrix in sixteen bits as the file holds it. */
function asStored(stored: StoredTensor): CompactMatrix {
  const { values, isFilled } = halvesPlaceFor(valueCountOf(stored));
  if (!isFilled) fillHalves(stored, values);
  return storedMatrix(values, stored.shape as readonly [number, number], stored.dtype as 'F16' | 'BF16');
}

/** W `[in, out]` of a linear map in a smaller form; only this matrix is ever whole in float32. Null where it cannot be. */
function compactWeight(
  stored: StoredTensor,
  layout: 'in-out' | 'out-in',
  precision: 'float16' | 'int8',
): CompactMatrix | null {
  const [rows, columns] = stored.shape as [number, number];
  const values = new Float32Array(rows * columns);
  if (layout === 'in-out') fillValues(stored, values);
  else fillTransposed(stored, values);
  return compactMatrix(values, layout === 'in-out' ? [rows, columns] : [columns, rows], precision);
}
