/**
 * Taking rows out of a matrix and adding rows into one, each the gradient of the other: what lets a part of a batch pass through a part of a
 * network at the cost of that part alone.
 */
import {
  add,
  concat,
  engine,
  gather,
  getBackend,
  getKernel,
  slice,
  type Tensor,
  type Tensor2D,
  tensor1d,
  zeros,
} from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import { addRowsKernel, takeRowsKernel } from './wasm-rows.ts';

/** Rows `indices` of `matrix` `[rows, size]`, in that order; an index may come more than once. → `[indices, size]` */
export function takeRows(matrix: Tensor2D, indices: readonly number[]): Tensor2D {
  const rowCount = matrix.shape[0];
  return withGradient([matrix], (x: Tensor2D) => ({
    value: copyRows(x, indices),
    saved: [],
    backward: (upstream: Tensor2D) => [sumRows(upstream, indices, rowCount)],
  }));
}

/** `[rowCount, size]` in which row `indices[i]` is the sum of all rows i of `matrix` `[indices, size]` that go there, and other rows are zero. */
export function addRows(matrix: Tensor2D, indices: readonly number[], rowCount: number): Tensor2D {
  return withGradient([matrix], (x: Tensor2D) => ({
    value: sumRows(x, indices, rowCount),
    saved: [],
    backward: (upstream: Tensor2D) => [copyRows(upstream, indices)],
  }));
}

/** {@link takeRows} without a gradient, for use inside operations that bring their own. */
function copyRows(matrix: Tensor2D, indices: readonly number[]): Tensor2D {
  if (getKernel(takeRowsKernel, getBackend()) !== undefined)
    return engine().runKernel(takeRowsKernel, { x: matrix }, { rows: [...indices] }) as Tensor as Tensor2D;
  const [first] = indices;
  if (first !== undefined && indices.every((row, index) => row === first + index))
    return slice(matrix, [first, 0], [indices.length, matrix.shape[1]]);
  return gather(matrix, tensor1d([...indices], 'int32'));
}

/** Sums by gathering from the other side: once for the first row that goes to each place, once for the second, and so on. */
function sumRows(matrix: Tensor2D, indices: readonly number[], rowCount: number): Tensor2D {
  if (getKernel(addRowsKernel, getBackend()) !== undefined)
    return engine().runKernel(addRowsKernel, { x: matrix }, { rows: [...indices], rowCount }) as Tensor as Tensor2D;
  const [count, size] = matrix.shape;
  const sources: Int32Array[] = [];
  const used = new Uint32Array(rowCount);
  for (const [source, place] of indices.entries()) {
    const turn = used[place]!;
    used[place] = turn + 1;
    // The row behind the last stands for nothing.
    sources[turn] ??= new Int32Array(rowCount).fill(count);
    sources[turn]![place] = source;
  }
  if (sources.length === 0) return zeros([rowCount, size]);
  const padded: Tensor2D = concat([matrix, zeros([1, size])], 0);
  return sources
    .map((rows): Tensor2D => gather(padded, tensor1d(rows, 'int32')))
    .reduce((left, right) => add(left, right));
}
