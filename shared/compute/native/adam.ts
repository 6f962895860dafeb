/** One step of AdamW for all tensors that train, on rows copied to the vector kernels of WebAssembly. */
import { adamStepKernel, moveStaged, runAdamStep } from '../adam-step.ts';
import { floatHost, type Kernels } from './kernels.ts';

/** The kernel by its name. */
export const adamKernels: Kernels = {
  [adamStepKernel]: (call) => runAdamStep({ ...floatHost(call), move: moveStaged }),
};
