/**
 * Pieces of tensors on WebAssembly. The library's `Slice` copies the whole tensor out of the module's memory before it takes a piece of it, and
 * `SplitV` does so for every piece: cutting a vector of a million parameters into two hundred tensors moved a gigabyte. These copy each piece and
 * nothing else.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import {
  backend_util,
  getKernel,
  type KernelFunc,
  registerKernel,
  Slice,
  SplitV,
  slice_util,
  type TensorInfo,
  unregisterKernel,
  util,
} from '@tensorflow/tfjs-core';

interface SliceCall {
  readonly inputs: { readonly x: TensorInfo };
  readonly attrs: { readonly begin: number[]; readonly size: number[] };
  readonly backend: BackendWasm;
}

interface SplitCall {
  readonly inputs: { readonly x: TensorInfo };
  readonly attrs: { readonly numOrSizeSplits: number | number[]; readonly axis: number };
  readonly backend: BackendWasm;
}

/** The part of the compiled module that its declarations leave out. */
interface Heap {
  readonly HEAPU8: Uint8Array<ArrayBuffer>;
}

/** Puts these in the places of the library's; call it once, before the back end starts. */
export function registerCutKernels(): void {
  const whole = getKernel(Slice, 'wasm').kernelFunc;
  const slice = (call: SliceCall) => {
    const { x } = call.inputs;
    const parsed = slice_util.parseSliceParams(x as never, call.attrs.begin, call.attrs.size);
    const [begin, size] = parsed as [number[], number[]];
    if (x.dtype === 'string' || !slice_util.isSliceContinous(x.shape, begin, size))
      return whole(call as unknown as Parameters<KernelFunc>[0]);
    const start = slice_util.computeFlatOffset(begin, util.computeStrides(x.shape));
    return piece(call.backend, x, size, [{ from: start, count: util.sizeFromShape(size) }]);
  };
  const split = ({ inputs: { x }, attrs, backend }: SplitCall) => {
    const axis = util.parseAxisParam(attrs.axis, x.shape)[0]!;
    const sizes = backend_util.prepareSplitSize(x as never, attrs.numOrSizeSplits, axis);
    const outer = util.sizeFromShape(x.shape.slice(0, axis));
    const inner = util.sizeFromShape(x.shape.slice(axis + 1));
    const width = x.shape[axis]! * inner;
    let begin = 0;
    return sizes.map((own) => {
      const [start, count] = [begin * inner, own * inner];
      begin += own;
      const strips = Array.from({ length: outer }, (_, row) => ({ from: row * width + start, count }));
      return piece(
        backend,
        x,
        x.shape.map((extent, place) => (place === axis ? own : extent)),
        strips,
      );
    });
  };
  for (const [kernelName, run] of [
    [Slice, slice],
    [SplitV, split],
  ] as const) {
    unregisterKernel(kernelName, 'wasm');
    registerKernel({ kernelName, backendName: 'wasm', kernelFunc: run as unknown as KernelFunc });
  }
}

/** A tensor of `shape` from stretches of values of `x`, one after the other. */
function piece(
  backend: BackendWasm,
  x: TensorInfo,
  shape: number[],
  strips: readonly { readonly from: number; readonly count: number }[],
): TensorInfo {
  const out = backend.makeOutput(shape, x.dtype);
  const bytes = util.bytesPerElement(x.dtype);
  // Read after the result was made, which may move all memory.
  const { HEAPU8: heap } = backend.wasm as unknown as Heap;
  const source = backend.getMemoryOffset(x.dataId);
  let place = backend.getMemoryOffset(out.dataId);
  for (const { from, count } of strips) {
    heap.copyWithin(place, source + from * bytes, source + (from + count) * bytes);
    place += count * bytes;
  }
  return out;
}
