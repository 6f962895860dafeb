/**
 * Native kernels for TensorFlow.js in Node, without a native package of TensorFlow: `onnxruntime-node` brings its library inside its npm
 * package, needs no install script, and exists for Linux and Windows on x64 and arm64, and for macOS on arm64.
 *
 * @example
 * import { registerNativeBackend } from 'tributary-fl/native';
 * import * as tf from '@tensorflow/tfjs';
 * registerNativeBackend({ threads: 2 });
 * await tf.setBackend('native');
 */
import {
  findBackend,
  getKernelsForBackend,
  type KernelConfig,
  registerBackend,
  registerKernel,
  removeBackend,
} from '@tensorflow/tfjs-core';
import { activationKernels } from './activations.ts';
import { adamKernels } from './adam.ts';
import { arrangementKernels } from './arrangement.ts';
import { attentionKernels } from './attention.ts';
import { NativeBackend, nativeBackendName } from './backend.node.ts';
import { crossEntropyKernels } from './cross-entropy.ts';
import { elementwiseKernels } from './elementwise.ts';
import { type Kernels, kernelConfig } from './kernels.ts';
import { normKernels } from './norms.ts';
import { productKernels } from './products.ts';
import { reductionKernels } from './reductions.ts';

/** Kernels of ours; whatever is not here the plain back end computes, on the same memory. */
const kernels: Kernels = {
  ...productKernels,
  ...elementwiseKernels,
  ...reductionKernels,
  ...arrangementKernels,
  ...activationKernels,
  ...normKernels,
  ...attentionKernels,
  ...adamKernels,
  ...crossEntropyKernels,
};

let hasKernels = false;

/**
 * Makes the back end `native` known to TensorFlow.js. Calling it again with another number of threads opens the engine anew, unless the back
 * end holds tensors.
 * @param options.threads threads that one large operation may use; 1 by default.
 * @returns the threads in use.
 * @throws Error when onnxruntime-node is not installed or does not load here.
 */
export function registerNativeBackend({ threads = 1 }: { readonly threads?: number } = {}): {
  readonly threads: number;
} {
  if (!hasKernels) {
    registerKernels();
    hasKernels = true;
  }
  const present = findBackend(nativeBackendName) as NativeBackend | null;
  if (present !== null) {
    if (present.threads === threads || present.numDataIds() > 0) return { threads: present.threads };
    removeBackend(nativeBackendName);
  }
  const backend = new NativeBackend(threads);
  registerBackend(nativeBackendName, () => backend, 0);
  return { threads };
}

function registerKernels(): void {
  const plain = new Map(getKernelsForBackend('cpu').map((config) => [config.kernelName, config]));
  for (const [name, kernel] of Object.entries(kernels)) registerKernel(kernelConfig(name, kernel, plain.get(name)));
  for (const [name, config] of plain) {
    if (!Object.hasOwn(kernels, name)) registerKernel({ ...config, backendName: nativeBackendName } as KernelConfig);
  }
}
