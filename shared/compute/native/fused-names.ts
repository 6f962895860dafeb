/**
 * Names of the operations that the native back end computes as a whole, and WebAssembly some of them; other back ends compose them from the library's
 * kernels.
 */
import { engine, getBackend, getKernel, type Tensor, type TensorInfo } from '@tensorflow/tfjs-core';

/** Whole operations, forward and backward. */
export const fusedKernels = {
  gelu: 'TributaryGelu',
  geluGradient: 'TributaryGeluGradient',
  gatedSilu: 'TributaryGatedSilu',
  gatedSiluGradient: 'TributaryGatedSiluGradient',
  layerNorm: 'TributaryLayerNorm',
  layerNormGradient: 'TributaryLayerNormGradient',
  rmsNorm: 'TributaryRmsNorm',
  rmsNormGradient: 'TributaryRmsNormGradient',
  attention: 'TributaryAttention',
  attentionGradient: 'TributaryAttentionGradient',
} as const;

/**
 * Whether the current back end computes `kernel` as a whole.
 * @param size of a norm's rows, else of all values: on WebAssembly they fill whole vectors.
 */
export function hasFused(kernel: keyof typeof fusedKernels, size = 0): boolean {
  const name = getBackend();
  if (getKernel(fusedKernels[kernel], name) === undefined) return false;
  if (name !== 'wasm') return true;
  return kernel.endsWith('Norm') ? size % 4 === 0 : size >= 4;
}

/** Runs a whole operation; it has no gradient of its own. */
export function runFused(
  kernel: keyof typeof fusedKernels,
  inputs: Readonly<Record<string, Tensor>>,
  attributes: Readonly<Record<string, number | boolean | string>> = {},
): Tensor[] {
  const results = engine().runKernel(
    fusedKernels[kernel],
    { ...inputs } as Record<string, Tensor & TensorInfo>,
    attributes,
  );
  return Array.isArray(results) ? results : [results as Tensor];
}
