/**
 * Kernels with vector instructions of WebAssembly, on a memory that somebody else fills: that of the back end `wasm`, or the pool of the native
 * one. Their code is assembled here, so there is nothing to compile or to download.
 */
import { adamFunction } from './adam.ts';
import { encodeModule } from './assembler.ts';
import { wideningFunctions } from './halves.ts';
import { normFunctions } from './norms.ts';
import { packedProduct, packing } from './packed-product.ts';
import { pointwiseFunctions } from './pointwise.ts';
import { softmaxFunction } from './softmax.ts';

/** Kernels by name; arguments are addresses in bytes, counts, and what the kernel's file says. */
export type VectorKernels = Readonly<Record<VectorKernel, (...numbers: readonly number[]) => void>>;

/** Names of the kernels. */
export type VectorKernel =
  | 'adam'
  | `gelu ${'none' | 'tanh'}`
  | `gelu gradient ${'none' | 'tanh'}`
  | 'gated silu'
  | 'gated silu gradient'
  | 'layer norm'
  | 'layer norm gradient'
  | 'packed product'
  | 'pack panels'
  | 'rms norm'
  | 'rms norm gradient'
  | 'softmax of rows'
  | 'widen bfloat16'
  | 'widen float16';

let compiled: WebAssembly.Module | null | undefined;

/** The kernels on `memory`; null where this machine's WebAssembly has no vector instructions. */
export function vectorKernels(memory: WebAssembly.Memory): VectorKernels | null {
  compiled ??= compile();
  if (compiled === null) return null;
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  return exports as unknown as VectorKernels;
}

/** With fused products and sums where they are known. */
function compile(): WebAssembly.Module | null {
  const bytes = [true, false].map(vectorModule).find((candidate) => WebAssembly.validate(candidate));
  return bytes === undefined ? null : new WebAssembly.Module(bytes);
}

/** The module of the kernels. @param relaxed whether products and sums are fused, which some engines cannot. */
export function vectorModule(relaxed: boolean): Uint8Array<ArrayBuffer> {
  return encodeModule([
    ...pointwiseFunctions(relaxed),
    ...normFunctions(relaxed),
    packedProduct(relaxed),
    packing,
    adamFunction(relaxed),
    softmaxFunction(relaxed),
    ...wideningFunctions(),
  ]);
}
