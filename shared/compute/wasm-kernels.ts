/**
 * Two kernels of our own for the WebAssembly back end.
 *
 * Many small matrix products in one call: the library's `BatchMatMul` runs on XNNPACK for a single pair of matrices only; for more it falls back to a
 * plain loop, 5 to 15 times slower. This kernel multiplies each pair with the vector kernels, or, where sizes do not suit them, calls the library once
 * per pair, on views into the tensors' memory, so that nothing is copied.
 *
 * Copies that share memory: the library's `Identity` copies values, and every tensor that is kept for a gradient goes through it. Tensors
 * never change, so counting one more owner does, as the other back ends have it.
 */

import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import {
  engine,
  Identity,
  type KernelFunc,
  registerKernel,
  type Tensor,
  type TensorInfo,
  unregisterKernel,
} from '@tensorflow/tfjs-core';

import { blockRows, canPack, packedSize, tileRows } from './simd/packed-product.ts';
import { wasmVectors } from './wasm-vectors.ts';

/** Name under which the kernel is registered. */
export const batchedProductKernel = 'TributaryBatchedProduct';

/** Which matrices of `a` `[*, m, k]` and `b` `[*, k, n]` are multiplied: pair i is `a[left[i]] b[right[i]]`. */
export interface BatchedProductAttributes {
  readonly left: readonly number[];
  readonly right: readonly number[];
}

/** Ids of the three views. The back end counts its own up from 1, so it never comes near. */
const viewIds = { left: 2 ** 31 - 3, right: 2 ** 31 - 2, out: 2 ** 31 - 1 } as const;
const float32Bytes = 4;

type MatrixProduct = (
  leftId: number,
  leftShape: Uint8Array,
  leftRank: number,
  rightId: number,
  rightShape: Uint8Array,
  rightRank: number,
  transposeLeft: number,
  transposeRight: number,
  outId: number,
) => void;

/** The part of the compiled module that its declarations leave out. */
interface CallableModule {
  cwrap(name: string, returns: null, types: readonly string[]): MatrixProduct;
}

let matrixProduct: MatrixProduct | null = null;

/** Registers the kernels; call it once, before the back end starts. */
export function registerWasmKernels(): void {
  unregisterKernel(Identity, 'wasm');
  registerKernel({
    kernelName: Identity,
    backendName: 'wasm',
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as TensorInfo;
      (backend as BackendWasm).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
  registerKernel({
    kernelName: batchedProductKernel,
    backendName: 'wasm',
    setupFunc: (backend) => {
      const callable = (backend as BackendWasm).wasm as unknown as CallableModule;
      const types = ['number', 'array', 'number', 'number', 'array', 'number', 'number', 'number', 'number'];
      matrixProduct = callable.cwrap('BatchMatMul', null, types);
    },
    kernelFunc: multiplyPairs as unknown as KernelFunc,
    disposeFunc: () => {
      matrixProduct = null;
    },
  });
}

/** The part of the back end that its declarations keep to themselves. */
interface OwnedData {
  readonly dataIdMap: { get(dataId: object): { memoryOffset: number } };
  readonly wasm: { _free(memoryOffset: number): void };
}

/**
 * Frees the values of a matrix that has been the right-hand side of a plain product: XNNPACK works on a packed copy of its own from the first
 * product on, and keeps it as long as the tensor. From then on the tensor is good for such products and nothing else.
 */
export function releaseValues(matrix: Tensor): void {
  const { dataIdMap, wasm } = engine().backend as unknown as OwnedData;
  const data = dataIdMap.get(matrix.dataId);
  wasm._free(data.memoryOffset);
  // What is freed with the tensor later is nothing.
  data.memoryOffset = 0;
}

interface Call {
  readonly inputs: { readonly a: TensorView; readonly b: TensorView };
  readonly attrs: BatchedProductAttributes;
  readonly backend: BackendWasm;
}

interface TensorView {
  readonly dataId: object;
  readonly shape: readonly [number, number, number];
}

function multiplyPairs({ inputs: { a, b }, attrs: { left, right }, backend }: Call) {
  const [, m, k] = a.shape;
  const n = b.shape[2];
  const out = backend.makeOutput([left.length, m, n], 'float32');
  const vectors = wasmVectors();
  if (vectors !== null && m >= tileRows && canPack(k, n)) {
    const panels = backend.makeOutput([packedSize(k, n)], 'float32');
    const nothing = backend.makeOutput([n], 'float32');
    (backend.typedArrayFromHeap(nothing) as Float32Array).fill(0);
    const [from, by, to, panelsAt, zeros] = [a, b, out, panels, nothing].map(({ dataId }) =>
      backend.getMemoryOffset(dataId),
    ) as [number, number, number, number, number];
    const block = blockRows(k);
    let last = -1;
    for (let pair = 0; pair < left.length; pair++) {
      if (right[pair] !== last)
        vectors['pack panels'](by + float32Bytes * k * n * right[pair]!, panelsAt, k, float32Bytes * n);
      last = right[pair]!;
      const rows = from + float32Bytes * m * k * left[pair]!;
      vectors['packed product'](
        ...[rows, panelsAt, zeros, to + float32Bytes * m * n * pair],
        ...[m, float32Bytes * k, float32Bytes * n, block],
      );
    }
    for (const { dataId } of [panels, nothing]) backend.disposeData(dataId);
    return out;
  }
  const { tfjs } = backend.wasm;
  const leftShape = shapeBytes(m, k);
  const rightShape = shapeBytes(k, n);
  const leftStart = backend.getMemoryOffset(a.dataId);
  const rightStart = backend.getMemoryOffset(b.dataId);
  const outStart = backend.getMemoryOffset(out.dataId);
  for (let pair = 0; pair < left.length; pair++) {
    tfjs.registerTensor(viewIds.left, m * k, leftStart + float32Bytes * m * k * left[pair]!);
    tfjs.registerTensor(viewIds.right, k * n, rightStart + float32Bytes * k * n * right[pair]!);
    tfjs.registerTensor(viewIds.out, m * n, outStart + float32Bytes * m * n * pair);
    matrixProduct!(viewIds.left, leftShape, 3, viewIds.right, rightShape, 3, 0, 0, viewIds.out);
    // Forgetting the view also frees what XNNPACK prepared for its right-hand side.
    for (const id of Object.values(viewIds)) tfjs.disposeData(id);
  }
  return out;
}

function shapeBytes(rowCount: number, columnCount: number): Uint8Array {
  return new Uint8Array(new Int32Array([1, rowCount, columnCount]).buffer);
}
