/** Kernels that move values: transposition on the engine, and slices, splits, padding, concatenation and rows as copies of whole runs. */
import { backend_util as axes, slice_util as slicing, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { addRowsKernel, takeRowsKernel } from '../wasm-rows.ts';
import { type Call, floats, floatValue, type Kernels } from './kernels.ts';
import { node, program } from './programs.ts';

/** Smaller tensors are transposed by the plain back end. */
const valuesMin = 128;

/** Kernels by name: the library's, and the product's two for rows. */
export const arrangementKernels: Kernels = {
  Transpose: transpose,
  Slice: slice,
  SplitV: split,
  PadV2: pad,
  Concat: concatenate,
  GatherV2: gather,
  [takeRowsKernel]: takeRows,
  [addRowsKernel]: addRows,
};

function transpose({ inputs: { x }, attrs, backend }: Call): TensorInfo | null {
  const values = floats(backend, x);
  if (values === null || values.length < valuesMin) return null;
  const perm = attrs.perm as number[];
  const out = backend.output(perm.map((axis) => x!.shape[axis]!));
  const chosen = program(`transpose ${perm.join(' ')}`, false, () => ({
    inputs: ['x'],
    outputs: ['y'],
    nodes: [node('Transpose', ['x'], 'y', { perm })],
  }));
  backend.engine.run(chosen, [floatValue(values, x!.shape)], [floatValue(out.values, out.info.shape)]);
  return out.info;
}

function slice({ inputs: { x }, attrs, backend }: Call): TensorInfo | null {
  const values = floats(backend, x);
  if (values === null) return null;
  const { begin, size } = attrs as { readonly begin: number | number[]; readonly size: number | number[] };
  const [starts, extents] = slicing.parseSliceParams(x as never, begin, size) as [number[], number[]];
  slicing.assertParamsValid(x as never, starts, extents);
  const out = backend.output(extents);
  if (out.values.length === 0) return out.info;
  copyBlock({
    from: values,
    fromShape: x!.shape,
    fromStart: starts,
    to: out.values,
    toShape: extents,
    toStart: null,
    extents,
  });
  return out.info;
}

function split({ inputs: { x }, attrs, backend }: Call): TensorInfo[] | null {
  const values = floats(backend, x);
  if (values === null) return null;
  const axis = util.parseAxisParam(attrs.axis as number, x!.shape)[0]!;
  const sizes = axes.prepareSplitSize(x as never, attrs.numOrSizeSplits as number | number[], axis);
  const fromStart = x!.shape.map(() => 0);
  return sizes.map((size) => {
    const extents = x!.shape.with(axis, size);
    const out = backend.output(extents);
    if (out.values.length > 0) {
      copyBlock({
        from: values,
        fromShape: x!.shape,
        fromStart,
        to: out.values,
        toShape: extents,
        toStart: null,
        extents,
      });
    }
    fromStart[axis]! += size;
    return out.info;
  });
}

function pad({ inputs: { x }, attrs, backend }: Call): TensorInfo | null {
  const values = floats(backend, x);
  if (values === null) return null;
  const { paddings, constantValue } = attrs as {
    readonly paddings: [number, number][];
    readonly constantValue: number;
  };
  const shape = x!.shape.map((extent, axis) => paddings[axis]![0] + extent + paddings[axis]![1]);
  const out = backend.output(shape);
  out.values.fill(constantValue);
  const toStart = paddings.map(([before]) => before);
  copyBlock({
    from: values,
    fromShape: x!.shape,
    fromStart: null,
    to: out.values,
    toShape: shape,
    toStart,
    extents: x!.shape,
  });
  return out.info;
}

function concatenate({ inputs, attrs, backend }: Call): TensorInfo | null {
  const tensors = Object.values(inputs) as TensorInfo[];
  const parts = tensors.map((tensor) => floats(backend, tensor));
  if (parts.length < 2 || parts.some((values) => values === null)) return null;
  const { shape: first } = tensors[0]!;
  const axis = util.parseAxisParam(attrs.axis as number, first)[0]!;
  const shape = [...first];
  shape[axis] = tensors.reduce((sum, tensor) => sum + tensor.shape[axis]!, 0);
  const out = backend.output(shape);
  const toStart = shape.map(() => 0);
  for (const [index, { shape: extents }] of tensors.entries()) {
    copyBlock({
      from: parts[index]!,
      fromShape: extents,
      fromStart: null,
      to: out.values,
      toShape: shape,
      toStart,
      extents,
    });
    toStart[axis]! += extents[axis]!;
  }
  return out.info;
}

interface Block {
  readonly from: Float32Array;
  readonly fromShape: readonly number[];
  /** Where the block begins in each; null for the beginning. */
  readonly fromStart: readonly number[] | null;
  readonly to: Float32Array;
  readonly toShape: readonly number[];
  readonly toStart: readonly number[] | null;
  readonly extents: readonly number[];
}

/** Runs shorter than this are copied value by value, since a call costs as much. */
const runMin = 16;

/** Copies a block of values between two tensors, by runs that are contiguous in both. */
function copyBlock({ from, fromShape, fromStart, to, toShape, toStart, extents }: Block): void {
  // Axes at the end that are whole on both sides are one with the axis before them.
  let last = extents.length - 1;
  let run = 1;
  for (; last >= 0; last--) {
    run *= extents[last]!;
    if (extents[last] !== fromShape[last] || extents[last] !== toShape[last]) break;
  }
  const [fromStrides, toStrides] = [stridesOf(fromShape), stridesOf(toShape)];
  const copy = (axis: number, fromPlace: number, toPlace: number): void => {
    if (axis >= last) {
      const begin = fromPlace + (fromStart?.[axis] ?? 0) * (fromStrides[axis] ?? 1);
      const place = toPlace + (toStart?.[axis] ?? 0) * (toStrides[axis] ?? 1);
      if (run >= runMin) to.set(from.subarray(begin, begin + run), place);
      else for (let index = 0; index < run; index++) to[place + index] = from[begin + index]!;
      return;
    }
    const [fromStride, toStride] = [fromStrides[axis]!, toStrides[axis]!];
    const fromBegin = fromPlace + (fromStart?.[axis] ?? 0) * fromStride;
    const toBegin = toPlace + (toStart?.[axis] ?? 0) * toStride;
    const extent = extents[axis]!;
    for (let index = 0; index < extent; index++)
      copy(axis + 1, fromBegin + index * fromStride, toBegin + index * toStride);
  };
  copy(0, 0, 0);
}

function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
}

/** Rows of a table by index, for the commonest case: the first axis, without batches. */
function gather({ inputs: { x, indices }, attrs, backend }: Call): TensorInfo | null {
  const values = floats(backend, x);
  const { axis, batchDims } = attrs as { readonly axis: number; readonly batchDims: number };
  const rows = backend.values(indices!);
  if (values === null || axis !== 0 || batchDims !== 0 || !(rows instanceof Int32Array)) return null;
  const rowCount = x!.shape[0]!;
  if (rows.some((row) => row < 0 || row >= rowCount)) return null;
  const out = backend.output([...indices!.shape, ...x!.shape.slice(1)]);
  copyRows(values, out.values, rows, values.length / rowCount);
  return out.info;
}

function takeRows({ inputs: { x }, attrs, backend }: Call): TensorInfo {
  const { rows } = attrs as { readonly rows: readonly number[] };
  const size = x!.shape[1]!;
  const out = backend.output([rows.length, size]);
  copyRows(backend.values(x!) as Float32Array, out.values, rows, size);
  return out.info;
}

function copyRows(from: Float32Array, to: Float32Array, rows: ArrayLike<number>, size: number): void {
  for (let place = 0; place < rows.length; place++) {
    const start = rows[place]! * size;
    to.set(from.subarray(start, start + size), place * size);
  }
}

function addRows({ inputs: { x }, attrs, backend }: Call): TensorInfo {
  const { rows, rowCount } = attrs as { readonly rows: readonly number[]; readonly rowCount: number };
  const from = backend.values(x!) as Float32Array;
  const size = x!.shape[1]!;
  const { values: to, info } = backend.output([rowCount, size]);
  to.fill(0);
  for (const [row, place] of rows.entries()) {
    const [start, end] = [place * size, row * size];
    for (let index = 0; index < size; index++) to[start + index]! += from[end + index]!;
  }
  return info;
}
