/** Kernels of our own for the plain back end. */
import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { getKernel, type KernelFunc, registerKernel, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { adamStepKernel, moveStaged, runAdamStep } from './adam-step.ts';
import { crossEntropyKernel, runCrossEntropy, softenPlainly } from './cross-entropy.ts';
import type { FloatHost } from './float-host.ts';

type Call = Pick<FloatHost, 'inputs' | 'attrs'> & { readonly backend: MathBackendCPU };

const kernels: Readonly<Record<string, (call: Call) => TensorInfo[]>> = {
  [adamStepKernel]: (call) => runAdamStep({ ...hostOf(call), move: moveStaged }),
  [crossEntropyKernel]: (call) => runCrossEntropy({ ...hostOf(call), soften: softenPlainly }),
};

/** Registers them, once. */
export function registerPlainKernels(): void {
  if (getKernel(adamStepKernel, 'cpu') !== undefined) return;
  for (const [kernelName, run] of Object.entries(kernels))
    registerKernel({ kernelName, backendName: 'cpu', kernelFunc: run as unknown as KernelFunc });
}

function hostOf({ inputs, attrs, backend }: Call): FloatHost {
  return {
    inputs,
    attrs,
    output: (shape: readonly number[]) =>
      backend.makeTensorInfo([...shape], 'float32', new Float32Array(util.sizeFromShape([...shape]))),
    values: ({ dataId }: TensorInfo) => backend.data.get(dataId).values as Float32Array,
    free: ({ dataId }: TensorInfo) => backend.disposeData(dataId),
  };
}
