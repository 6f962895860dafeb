/** How each back end becomes known to TensorFlow.js, and under which name. */
import { engine, findBackend, getKernel } from '@tensorflow/tfjs-core';
import type { BackendName } from './backend-names.ts';
import { isNode } from './place.ts';
import { registerPlainKernels } from './plain-kernels.ts';
import { registerCutKernels } from './wasm-cuts.ts';
import { batchedProductKernel, registerWasmKernels } from './wasm-kernels.ts';
import { registerRowKernels } from './wasm-rows.ts';
import { registerVectorKernels } from './wasm-vectors.ts';
import { registerWebGl } from './webgl.ts';
import { registerWebGpu } from './webgpu.ts';

/** What a back end computes on, known after it has started. */
export interface LoadedBackend {
  /** Threads that one product runs on. */
  readonly threads: () => number;
  /** The graphics device, or the library; null where it is the processor. */
  readonly device: string | null;
  /** Whether it imitates in software a device that is not there. */
  readonly isSoftware: boolean;
  /** Bytes that it can hold, or null where only the machine's memory ends it. */
  readonly memoryBytesMax: number | null;
}

/** How a back end becomes known. */
interface Loader {
  /** Name under which TensorFlow.js registers it; the two native packages share one. */
  readonly registered: string;
  /** @throws what stands in the way. */
  readonly load: (threads: number) => Promise<LoadedBackend>;
}

/** Where WebAssembly's memory ends: its addresses have 32 bits. */
const wasmBytesMax = 2 ** 32;

const onProcessor = { device: null, isSoftware: false, memoryBytesMax: null } as const;

/** All back ends. */
export const loaders: Readonly<Record<BackendName, Loader>> = {
  'node-gpu': { registered: 'tensorflow', load: () => loadTensorflow('@tensorflow/tfjs-node-gpu') },
  webgpu: { registered: 'webgpu', load: () => loadGraphics(registerWebGpu) },
  webgl: { registered: 'webgl', load: () => loadGraphics(registerWebGl) },
  node: { registered: 'tensorflow', load: () => loadTensorflow('@tensorflow/tfjs-node') },
  native: { registered: 'native', load: loadNative },
  wasm: { registered: 'wasm', load: loadWasm },
  cpu: { registered: 'cpu', load: loadPlain },
};

async function loadGraphics(register: typeof registerWebGpu): Promise<LoadedBackend> {
  const { description, isSoftware, tensorBytesMax } = await register();
  return { threads: () => 1, device: description, isSoftware, memoryBytesMax: tensorBytesMax };
}

async function loadTensorflow(packageName: string): Promise<LoadedBackend> {
  if (!isNode()) throw new Error('it runs in Node only');
  const { loadNativePackage, processorCount } = await import('./backend.node.ts');
  await loadNativePackage(packageName);
  return { ...onProcessor, threads: processorCount, device: packageName.endsWith('-gpu') ? 'CUDA' : null };
}

async function loadNative(threads: number): Promise<LoadedBackend> {
  if (!isNode()) throw new Error('it runs in Node only');
  const { registerNativeBackend } = await import('./native/register.node.ts');
  const { threads: inUse } = registerNativeBackend({ threads });
  return { ...onProcessor, threads: () => inUse };
}

async function loadWasm(threads: number): Promise<LoadedBackend> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  const hasStarted = 'wasm' in engine().registry;
  if (!hasStarted) {
    if (isNode()) wasm.setWasmPaths((await import('./backend.node.ts')).wasmFolder());
    wasm.setThreadsCount(threads);
  }
  if (getKernel(batchedProductKernel, 'wasm') === undefined) {
    registerWasmKernels();
    registerRowKernels();
    registerCutKernels();
    registerVectorKernels();
  }
  return { ...onProcessor, threads: () => Math.max(1, wasm.getThreadsCount()), memoryBytesMax: wasmBytesMax };
}

async function loadPlain(): Promise<LoadedBackend> {
  await import('@tensorflow/tfjs-backend-cpu');
  // On its first use this back end recommends another package on the console.
  Reflect.set(findBackend('cpu'), 'firstUse', false);
  registerPlainKernels();
  return { ...onProcessor, threads: () => 1 };
}
