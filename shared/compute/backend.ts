/**
 * Chooses what computes. `auto` takes the first back end that works, in the order of {@link backendNames}, and says why the faster ones did
 * not; a back end that was asked for by name fails hard. "Works" means that one product and one gradient were computed and are right.
 */
import {
  engine,
  findBackend,
  getGradient,
  getKernel,
  grad,
  matMul,
  ready,
  setBackend,
  square,
  sum,
  type Tensor,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import { errorMessage, FederationError } from '../core/errors.ts';
import { type BackendName, backendNames } from './backend-names.ts';
import { registerCutKernels } from './wasm-cuts.ts';
import { batchedProductKernel, registerWasmKernels } from './wasm-kernels.ts';
import { registerRowKernels } from './wasm-rows.ts';

export { type BackendName, backendNames } from './backend-names.ts';

/** The back end that computes now. */
export interface Backend {
  readonly name: BackendName;
  /** Threads that one product runs on. WebAssembly has one in Node: its build has no threads there, whatever was asked for. */
  readonly threads: number;
  /** Back ends that `auto` tried before this one, and why they do not work here. */
  readonly rejected: readonly { readonly name: BackendName; readonly reason: string }[];
}

/** Name under which TensorFlow.js registers each; the two native packages share one. */
const registeredNames: Readonly<Record<BackendName, string>> = {
  'node-gpu': 'tensorflow',
  node: 'tensorflow',
  native: 'native',
  wasm: 'wasm',
  cpu: 'cpu',
};

/** Makes a back end's package known to the engine and returns the threads it will use. @throws what stands in the way. */
const loaders: Readonly<Record<BackendName, (threads: number) => Promise<() => number>>> = {
  'node-gpu': () => loadTensorflow('@tensorflow/tfjs-node-gpu'),
  node: () => loadTensorflow('@tensorflow/tfjs-node'),
  native: loadNative,
  wasm: loadWasm,
  cpu: async () => {
    await import('@tensorflow/tfjs-backend-cpu');
    // On its first use this back end recommends another package on the console.
    Reflect.set(findBackend('cpu'), 'firstUse', false);
    return () => 1;
  },
};

/**
 * Makes a back end current, for this thread, until the next call.
 * @param name a back end, or `auto` for the first that works.
 * @param options.threads threads to use where the back end has threads; default 1.
 * @throws FederationError `backend-unavailable` with the reason.
 */
export async function useBackend(
  name: BackendName | 'auto',
  { threads = 1 }: { readonly threads?: number } = {},
): Promise<Backend> {
  if (name !== 'auto') {
    try {
      return { name, threads: await start(name, threads), rejected: [] };
    } catch (thrown) {
      throw unavailable(
        `the back end ${name} does not work here: ${errorMessage(thrown)}; choose another with --backend, or auto`,
        thrown,
      );
    }
  }
  const rejected: { name: BackendName; reason: string }[] = [];
  for (const candidate of backendNames) {
    try {
      return { name: candidate, threads: await start(candidate, threads), rejected };
    } catch (thrown) {
      rejected.push({ name: candidate, reason: errorMessage(thrown).split('\n')[0]! });
    }
  }
  const reasons = rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  throw unavailable(`no back end works here (${reasons})`, undefined);
}

function unavailable(message: string, cause: unknown): FederationError {
  return new FederationError('backend-unavailable', message, { cause });
}

async function start(name: BackendName, threads: number): Promise<number> {
  const threadsInUse = await loaders[name](threads);
  const registered = registeredNames[name];
  if (!(await setBackend(registered))) throw new Error('its package is installed, but it does not start');
  await ready();
  if (getGradient('BatchMatMul') === undefined) await registerGradients();
  prove();
  return threadsInUse();
}

/** Computes x W and the gradient of the sum of its squares, 2 (x W) Wᵀ, and compares with the known values. */
function prove(): void {
  tidy(() => {
    const x = tensor2d([1, 2, 3, 4], [2, 2]);
    const weight = tensor2d([1, -1, 0.5, 2], [2, 2]);
    expectValues('a product', matMul(x, weight), [2, 3, 5, 5]);
    const gradientOf = grad((input: Tensor) => sum(square(matMul(input, weight))));
    expectValues('a gradient', gradientOf(x), [-2, 14, 0, 25]);
  });
}

function expectValues(what: string, found: Tensor, expected: readonly number[]): void {
  const values = [...found.dataSync()];
  if (!expected.every((value, index) => Math.abs(value - values[index]!) < 1e-5)) {
    throw new Error(`${what} came out as [${values.join(', ')}], expected [${expected.join(', ')}]`);
  }
}

async function loadWasm(threads: number): Promise<() => number> {
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
  }
  return () => Math.max(1, wasm.getThreadsCount());
}

async function loadNative(threads: number): Promise<() => number> {
  if (!isNode()) throw new Error('it runs in Node only');
  const { registerNativeBackend } = await import('./native/register.node.ts');
  const { threads: inUse } = registerNativeBackend({ threads });
  return () => inUse;
}

async function loadTensorflow(packageName: string): Promise<() => number> {
  if (!isNode()) throw new Error('it runs in Node only');
  const { loadNativePackage, processorCount } = await import('./backend.node.ts');
  await loadNativePackage(packageName);
  const backend: unknown = findBackend(registeredNames.node);
  const usesGpu = typeof backend === 'object' && backend !== null && Reflect.get(backend, 'isUsingGpuDevice') === true;
  if (packageName.endsWith('-gpu') && !usesGpu)
    throw new Error('its package is installed but finds no GPU that it can use');
  return processorCount;
}

/** The core package has the operations without their gradients; in Node only the package that holds everything brings them. */
async function registerGradients(): Promise<void> {
  if (isNode()) await import('@tensorflow/tfjs');
  else await import('@tensorflow/tfjs-core/dist/register_all_gradients.js');
}

function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined;
}
