/**
 * Frozen parts of a base that know the names of their tensors in the checkpoint, so that hooks can put other tensors in their place: this is
 * how norms, biases or whole bases are trained. Where no hook does, they are the frozen parts themselves.
 */
import {
  gather,
  reshape,
  slice,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tensor3d,
  transpose,
} from '@tensorflow/tfjs-core';
import type { CompactMatrix } from '../compute/compact-matrix.ts';
import type { FrozenNorm } from '../compute/layer-norm.ts';
import { compactLinear, type FrozenLinear, type TiedOutput, tiedOutput } from '../compute/products.ts';
import { trainableRows } from '../compute/table.ts';
import type { FrozenMap, SiteHooks } from './base-model.ts';

/** What stands in for frozen tensors, if anything does. */
export type Replacement = SiteHooks['weight'];

/** A linear map `<name>.weight` `[in, out]`, `<name>.bias`. */
export interface NamedLinear extends FrozenMap {
  readonly outSize: number;
  apply(input: Tensor2D, replaced?: Replacement): Tensor2D;
  dispose(): void;
}

/** A norm `<name>.weight`, `<name>.bias`. */
export interface NamedNorm {
  /** `[rows, size]` → `[rows, size]`. */
  apply(input: Tensor2D, replaced?: Replacement): Tensor2D;
  dispose(): void;
}

/** An embedding `<name>.weight` `[rows, size]`. */
export interface NamedTable {
  /** Vectors of ids `[batch, sequence]` → `[batch, sequence, size]`. */
  rows(ids: Tensor2D, replaced?: Replacement): Tensor3D;
  /** Vectors `start`, `start + 1`, … → `[length, size]`. */
  stretch(start: number, length: number, replaced?: Replacement): Tensor2D;
  /** An output matrix that is this table, with the bias `biasName` if it is given; it owns the bias. */
  output(bias: { readonly name: string; readonly values: Tensor1D } | null): NamedOutput;
  dispose(): void;
}

/** A map to scores of the vocabulary. */
export interface NamedOutput {
  /** What the head does before that map, `[rows, hidden]` → `[rows, hidden]`. Absent means nothing. */
  transform?(input: Tensor2D, replaced?: Replacement): Tensor2D;
  /** `[rows, hidden]` → `[rows, vocabulary]`. */
  apply(input: Tensor2D, replaced?: Replacement): Tensor2D;
  dispose(): void;
}

/** Names a linear map. */
export function namedLinear(name: string, map: FrozenLinear): NamedLinear {
  return {
    ...map,
    apply: (input, replaced) => {
      if (replaced === undefined) return map.apply(input);
      const bias = map.bias();
      const kernel = replaced(`${name}.weight`, map.kernel()) as Tensor2D | undefined;
      const changedBias = bias === null ? undefined : (replaced(`${name}.bias`, bias) as Tensor1D | undefined);
      if (kernel === undefined && changedBias === undefined) return map.apply(input);
      return map.apply(input, { kernel, bias: changedBias });
    },
  };
}

/** Names a norm. */
export function namedNorm(name: string, norm: FrozenNorm): NamedNorm {
  return {
    apply: (input, replaced) => {
      if (replaced === undefined) return norm.apply(input);
      const gain = replaced(`${name}.weight`, norm.gain) as Tensor1D | undefined;
      const bias = norm.bias === null ? undefined : (replaced(`${name}.bias`, norm.bias) as Tensor1D | undefined);
      if (gain === undefined && bias === undefined) return norm.apply(input);
      return norm.apply(input, { gain, bias });
    },
    dispose: norm.dispose,
  };
}

/** Names an embedding. Takes over the table. */
export function namedTable(name: string, table: Tensor2D): NamedTable {
  const size = table.shape[1];
  const changed = (replaced: Replacement) => replaced?.(`${name}.weight`, table) as Tensor2D | undefined;
  return {
    rows: (ids, replaced) => {
      const indices: Tensor1D = reshape(ids, [-1]);
      const other = changed(replaced);
      const rows = other === undefined ? gather(table, indices) : trainableRows(other, indices);
      return reshape(rows, [...ids.shape, size]);
    },
    stretch: (start, length, replaced) => slice(changed(replaced) ?? table, [start, 0], [length, size]),
    output: (bias) => namedOutput(tiedOutput(table, bias?.values ?? null), bias, changed),
    dispose: () => table.dispose(),
  };
}

/** Names an embedding that is kept in a smaller form; rows are widened when they are read. */
export function namedCompactTable(name: string, table: CompactMatrix): NamedTable {
  const size = table.shape[1];
  const part = (start: number, length: number, into?: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> =>
    table.expand(into, { rows: [start, start + length], columns: [0, size] });
  const changed = (replaced: Replacement): Tensor2D | undefined =>
    replaced?.(`${name}.weight`, tensor2d(table.expand(), [...table.shape])) as Tensor2D | undefined;
  return {
    rows: (ids, replaced) => {
      const other = changed(replaced);
      if (other !== undefined) return reshape(trainableRows(other, reshape(ids, [-1])), [...ids.shape, size]);
      const indices = ids.dataSync<'int32'>();
      const rows = new Float32Array(indices.length * size);
      for (const [index, id] of indices.entries()) part(id, 1, rows.subarray(index * size, (index + 1) * size));
      return tensor3d(rows, [...ids.shape, size]);
    },
    stretch: (start, length, replaced) => {
      const other = changed(replaced);
      if (other !== undefined) return slice(other, [start, 0], [length, size]);
      return tensor2d(part(start, length), [length, size]);
    },
    output: (bias) => {
      const map = compactLinear(table, bias?.values ?? null, 'out-in');
      const apply: TiedOutput['apply'] = (input, { embedding, bias: ownBias } = {}) =>
        embedding === undefined && ownBias === undefined
          ? map.apply(input)
          : map.apply(input, { kernel: embedding && transpose(embedding), bias: ownBias });
      return namedOutput({ apply, bias: bias?.values ?? null, dispose: map.dispose }, bias, changed);
    },
    dispose: () => {},
  };
}

function namedOutput(
  output: TiedOutput,
  bias: { readonly name: string; readonly values: Tensor1D } | null,
  changed: (replaced: Replacement) => Tensor2D | undefined,
): NamedOutput {
  return {
    apply: (input, replaced) => {
      if (replaced === undefined) return output.apply(input);
      const embedding = changed(replaced);
      const ownBias = bias === null ? undefined : (replaced(bias.name, bias.values) as Tensor1D | undefined);
      if (embedding === undefined && ownBias === undefined) return output.apply(input);
      return output.apply(input, { embedding, bias: ownBias });
    },
    dispose: output.dispose,
  };
}
