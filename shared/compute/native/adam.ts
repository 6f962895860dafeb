/** One step of AdamW for all tensors that train, on rows copied to the vector kernels of WebAssembly. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { adamStepKernel, moveStaged, runAdamStep } from '../adam-step.ts';
import type { Kernels } from './kernels.ts';

/** The kernel by its name. */
export const adamKernels: Kernels = {
  [adamStepKernel]: ({ inputs, attrs, backend }): TensorInfo[] =>
    runAdamStep({
      inputs,
      attrs,
      output: (shape) => backend.output(shape).info,
      values: (tensor) => backend.values(tensor) as Float32Array,
      move: moveStaged,
    }),
};
