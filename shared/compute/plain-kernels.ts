/** Kernels of our own for the plain back end. */
import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { getKernel, type KernelFunc, registerKernel, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { type AdamHost, adamStepKernel, moveStaged, runAdamStep } from './adam-step.ts';

/** Registers them, once. */
export function registerPlainKernels(): void {
  if (getKernel(adamStepKernel, 'cpu') !== undefined) return;
  const run = ({
    inputs,
    attrs,
    backend,
  }: Pick<AdamHost, 'inputs' | 'attrs'> & { readonly backend: MathBackendCPU }): TensorInfo[] =>
    runAdamStep({
      inputs,
      attrs,
      output: (shape) =>
        backend.makeTensorInfo([...shape], 'float32', new Float32Array(util.sizeFromShape([...shape]))),
      values: ({ dataId }) => backend.data.get(dataId).values as Float32Array,
      move: moveStaged,
    });
  registerKernel({ kernelName: adamStepKernel, backendName: 'cpu', kernelFunc: run as unknown as KernelFunc });
}
