/**
 * The vector kernels of `simd/` on the memory of the WebAssembly back end: whole activations and norms with their gradients, under the names that
 * other back ends use for theirs, and products with packed matrices.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { type KernelFunc, registerKernel, type TensorInfo, unregisterKernel, util } from '@tensorflow/tfjs-core';
import { type AdamNumbers, adamStepKernel, runAdamStep } from './adam-step.ts';
import { crossEntropyKernel, runCrossEntropy } from './cross-entropy.ts';
import type { FloatHost } from './float-host.ts';
import { fusedKernels } from './native/fused-names.ts';
import { type VectorKernels, vectorKernels } from './simd/module.ts';
import { blockRows, tileRows } from './simd/packed-product.ts';

/** Product of rows with a matrix in panels: `x`, `packed` and perhaps `bias`; attributes `inSize` and `outSize`. */
export const packedProductKernel = 'TributaryPackedProduct';

const float32Bytes = 4;

interface Call {
  readonly inputs: Readonly<Record<string, TensorInfo>>;
  readonly attrs: Readonly<Record<string, unknown>>;
  readonly backend: BackendWasm;
}

/** The part of the compiled module that its declarations leave out. */
interface CompiledModule {
  readonly asm: { readonly memory?: unknown };
}

let kernels: VectorKernels | null = null;

const functions: Readonly<Record<string, (call: Call) => TensorInfo | TensorInfo[]>> = {
  [fusedKernels.gelu]: (call) => overValues(call, `gelu ${call.attrs.approximate as 'none'}`, ['x'], 1)[0]!,
  [fusedKernels.geluGradient]: (call) =>
    overValues(call, `gelu gradient ${call.attrs.approximate as 'none'}`, ['x', 'upstream'], 1)[0]!,
  [fusedKernels.gatedSilu]: (call) => overValues(call, 'gated silu', ['gate', 'up'], 1)[0]!,
  [fusedKernels.gatedSiluGradient]: (call) => overValues(call, 'gated silu gradient', ['gate', 'up', 'upstream'], 2),
  [fusedKernels.layerNorm]: (call) => overRows(call, 'layer norm', ['x', 'gain', 'bias'], ['rows', 'row', 'row']),
  [fusedKernels.layerNormGradient]: (call) =>
    overRows(call, 'layer norm gradient', ['x', 'gain', 'upstream', 'mean', 'inverse'], ['rows'])[0]!,
  [fusedKernels.rmsNorm]: (call) => overRows(call, 'rms norm', ['x', 'gain'], ['rows', 'row']),
  [fusedKernels.rmsNormGradient]: (call) =>
    overRows(call, 'rms norm gradient', ['x', 'gain', 'upstream', 'inverse'], ['rows'])[0]!,
  [packedProductKernel]: multiply,
  [adamStepKernel]: takeAdamStep,
  [crossEntropyKernel]: compareWithTargets,
};

/** Registers the kernels; call it once, before the back end starts. Where its WebAssembly has no vector instructions they go again. */
export function registerVectorKernels(): void {
  for (const [kernelName, run] of Object.entries(functions)) {
    registerKernel({
      kernelName,
      backendName: 'wasm',
      setupFunc: (backend) => {
        kernels ??= kernelsOf(backend as BackendWasm);
        if (kernels === null) unregisterKernel(kernelName, 'wasm');
      },
      kernelFunc: run as unknown as KernelFunc,
      disposeFunc: () => {
        kernels = null;
      },
    });
  }
}

/** The kernels on the back end's memory; null where there are none. */
export function wasmVectors(): VectorKernels | null {
  return kernels;
}

function kernelsOf(backend: BackendWasm): VectorKernels | null {
  const { memory } = (backend.wasm as unknown as CompiledModule).asm;
  return memory instanceof WebAssembly.Memory ? vectorKernels(memory) : null;
}

function addressesOf({ backend }: Call, tensors: readonly TensorInfo[]): number[] {
  return tensors.map(({ dataId }) => backend.getMemoryOffset(dataId));
}

function overValues(call: Call, kernel: keyof VectorKernels, names: readonly string[], count: number): TensorInfo[] {
  const inputs = names.map((name) => call.inputs[name]!);
  const { shape } = inputs[0]!;
  const outputs = Array.from({ length: count }, () => call.backend.makeOutput(shape, 'float32'));
  kernels![kernel](...addressesOf(call, [...inputs, ...outputs]), util.sizeFromShape(shape));
  return outputs;
}

/** Results are `[rows, size]` or `[rows]`; the kernel takes them after what it reads. */
function overRows(
  call: Call,
  kernel: keyof VectorKernels,
  names: readonly string[],
  results: readonly ('rows' | 'row')[],
): TensorInfo[] {
  const inputs = names.map((name) => call.inputs[name]!);
  const [rowCount, size] = inputs[0]!.shape as [number, number];
  const outputs = results.map((kind) =>
    call.backend.makeOutput(kind === 'rows' ? [rowCount, size] : [rowCount], 'float32'),
  );
  const settings = call.attrs.epsilon === undefined ? [] : [call.attrs.epsilon as number];
  kernels![kernel](...addressesOf(call, [...inputs, ...outputs]), rowCount, float32Bytes * size, ...settings);
  return outputs;
}

function multiply(call: Call): TensorInfo {
  const { backend, attrs } = call;
  const { x, packed, bias } = call.inputs as {
    readonly x: TensorInfo;
    readonly packed: TensorInfo;
    readonly bias?: TensorInfo;
  };
  const [inSize, outSize] = [attrs.inSize as number, attrs.outSize as number];
  const rowCount = x.shape[0]!;
  const out = backend.makeOutput([rowCount, outSize], 'float32');
  if (rowCount === 0) return out;
  // Fewer rows than a tile has are computed among rows that nobody reads.
  const isNarrow = rowCount < tileRows;
  const rows = isNarrow ? backend.makeOutput([tileRows, inSize], 'float32') : x;
  const result = isNarrow ? backend.makeOutput([tileRows, outSize], 'float32') : out;
  const added = bias ?? backend.makeOutput([outSize], 'float32');
  const heap = (tensor: TensorInfo) => backend.typedArrayFromHeap(tensor) as Float32Array;
  if (bias === undefined) heap(added).fill(0);
  if (isNarrow) heap(rows).fill(0).set(heap(x));
  kernels!['packed product'](
    ...addressesOf(call, [rows, packed, added, result]),
    Math.max(rowCount, tileRows),
    float32Bytes * inSize,
    float32Bytes * outSize,
    blockRows(inSize),
  );
  if (isNarrow) heap(out).set(heap(result).subarray(0, rowCount * outSize));
  const made = [...(isNarrow ? [rows, result] : []), ...(bias === undefined ? [added] : [])];
  for (const { dataId } of made) backend.disposeData(dataId);
  return out;
}

function hostOf({ inputs, attrs, backend }: Call): FloatHost {
  return {
    inputs,
    attrs,
    output: (shape) => backend.makeOutput([...shape], 'float32'),
    values: (tensor) => backend.typedArrayFromHeap(tensor) as Float32Array,
    free: ({ dataId }) => backend.disposeData(dataId),
  };
}

function takeAdamStep(call: Call): TensorInfo[] {
  return runAdamStep({
    ...hostOf(call),
    move: ({ w, g, m, v, out }, numbers: AdamNumbers) => {
      const addresses = [w, g, m, v, out].map(({ byteOffset }) => byteOffset);
      kernels!.adam(...addresses, w.length, ...numbers);
      return w.length - (w.length % 4);
    },
  });
}

function compareWithTargets(call: Call): TensorInfo[] {
  return runCrossEntropy({
    ...hostOf(call),
    soften: ({ scores, shares, largestScores, largestShares }, size) =>
      kernels!['softmax of rows'](
        ...[scores, shares, largestScores, largestShares].map(({ byteOffset }) => byteOffset),
        ...[largestScores.length, float32Bytes * size],
      ),
  });
}
