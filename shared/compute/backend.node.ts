/** The parts of choosing a back end that need Node: where the WebAssembly files are, and the native packages, which are optional. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import {
  engine,
  findBackend,
  getKernelsForBackend,
  type KernelBackend,
  type KernelConfig,
  registerBackend,
  registerKernel,
  removeBackend,
  unregisterKernel,
} from '@tensorflow/tfjs-core';
import { errorMessage } from '../core/errors.ts';

const require = createRequire(import.meta.url);

/** Folder of the WebAssembly binaries, with its separator at the end as the back end wants it. */
export function wasmFolder(): string {
  return `${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`;
}

/** Threads that the native packages use: they take every processor and have no setting of their own. */
export function processorCount(): number {
  return availableParallelism();
}

/** Loads an optional package. @throws Error that says whether it is missing or broken, in one line. */
export async function importOptional(packageName: string): Promise<unknown> {
  try {
    return await import(packageName);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : null;
    const isMissing = code === 'ERR_MODULE_NOT_FOUND' && errorMessage(cause).includes(`'${packageName}'`);
    const reason = isMissing ? 'is not installed' : `does not load: ${errorMessage(cause).split('\n')[0]}`;
    throw new Error(`${packageName} ${reason}`, { cause });
  }
}

/** Name under which both native packages register their back end. */
const tensorflowName = 'tensorflow';

/** What a native package came to: it registers itself only when it is loaded for the first time. */
type Loaded =
  | { readonly backend: KernelBackend; readonly kernels: readonly KernelConfig[] }
  | { readonly failure: unknown };

const loadedPackages = new Map<string, Loaded>();

/**
 * Loads `@tensorflow/tfjs-node-gpu` or `@tensorflow/tfjs-node` and registers its back end. The two share a name: each takes the place of what
 * the other registered.
 * @throws Error when the package or its native library is not installed, or finds no GPU though it is made for one.
 */
export async function loadNativePackage(packageName: string): Promise<void> {
  forgetTensorflow();
  const loaded = loadedPackages.get(packageName) ?? (await loadFirst(packageName));
  loadedPackages.set(packageName, loaded);
  if ('failure' in loaded) throw loaded.failure;
  if (findBackend(tensorflowName) !== null) return;
  registerBackend(tensorflowName, () => loaded.backend);
  for (const kernel of loaded.kernels) registerKernel(kernel);
}

async function loadFirst(packageName: string): Promise<Loaded> {
  restoreRemovedUtilities();
  try {
    await importOptional(packageName);
    const backend = findBackend(tensorflowName) as (KernelBackend & { readonly isUsingGpuDevice?: boolean }) | null;
    if (backend === null) {
      throw new Error(`${packageName} registers no back end here: it brings another copy of @tensorflow/tfjs-core`);
    }
    if (packageName.endsWith('-gpu') && backend.isUsingGpuDevice !== true) {
      throw new Error(`${packageName} finds no GPU that it can use: it needs CUDA 11.2 and cuDNN 8.1`);
    }
    return { backend, kernels: getKernelsForBackend(tensorflowName) };
  } catch (failure) {
    forgetTensorflow();
    return { failure };
  }
}

function forgetTensorflow(): void {
  if (tensorflowName in engine().registryFactory) removeBackend(tensorflowName);
  for (const { kernelName } of getKernelsForBackend(tensorflowName)) unregisterKernel(kernelName, tensorflowName);
}

/** The packages call two functions that Node 23 removed. They are put back on the module object that CommonJS code sees. */
function restoreRemovedUtilities(): void {
  const utilities = require('node:util') as Record<string, unknown>;
  utilities.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  utilities.isArray ??= Array.isArray;
}
