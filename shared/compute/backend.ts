/**
 * Chooses what computes. `auto` takes the first back end that works, in the order of {@link backendNames} or {@link browserBackendNames}, and
 * says why the faster ones did not; a back end that was asked for by name fails hard. "Works" means that one product and one gradient were
 * computed and are right. What only imitates a graphics card in software works, but is slower than what follows, so `auto` passes it by.
 */
import {
  getGradient,
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
import { type BackendName, backendNames, browserBackendNames } from './backend-names.ts';
import { type LoadedBackend, loaders } from './loaders.ts';
import { isNode } from './place.ts';

export { type BackendName, backendNames } from './backend-names.ts';

/** The back end that computes now. */
export interface Backend {
  readonly name: BackendName;
  /** Threads that one product runs on. WebAssembly has one in Node: its build has no threads there, whatever was asked for. */
  readonly threads: number;
  /** The graphics device it computes on; null where it is the processor. */
  readonly device: string | null;
  /** Whether it imitates in software a graphics card that is not there; never so with `auto`. */
  readonly isSoftware: boolean;
  /** Bytes that it can hold, on WebGPU in one tensor; null where nothing but the device's memory ends it. */
  readonly memoryBytesMax: number | null;
  /** Back ends that `auto` tried before this one, and why they do not work here. */
  readonly rejected: readonly { readonly name: BackendName; readonly reason: string }[];
}

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
      return { name, ...(await start(name, threads)), rejected: [] };
    } catch (thrown) {
      const reason = errorMessage(thrown).split('\n')[0]!.trim();
      const help = isNode() ? ' (tributary doctor shows what works and how to install the rest)' : '';
      throw unavailable(
        `the back end ${name} does not work here: ${reason}; choose another with --backend, or auto${help}`,
        thrown,
      );
    }
  }
  const rejected: { name: BackendName; reason: string }[] = [];
  for (const candidate of isNode() ? backendNames : browserBackendNames) {
    try {
      await expectHardware(candidate);
      return { name: candidate, ...(await start(candidate, threads, refuseSoftware)), rejected };
    } catch (thrown) {
      rejected.push({ name: candidate, reason: errorMessage(thrown).split('\n')[0]!.trim() });
    }
  }
  const reasons = rejected.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  throw unavailable(`no back end works here (${reasons})`, undefined);
}

function unavailable(message: string, cause: unknown): FederationError {
  return new FederationError('backend-unavailable', message, { cause });
}

async function start(
  name: BackendName,
  threads: number,
  judge: (loaded: LoadedBackend) => void = () => {},
): Promise<Pick<Backend, 'threads' | 'device' | 'isSoftware' | 'memoryBytesMax'>> {
  const { registered, load } = loaders[name];
  const loaded = await load(threads);
  judge(loaded);
  if (!(await setBackend(registered))) throw new Error('its package is installed, but it does not start');
  await ready();
  if (getGradient('BatchMatMul') === undefined) await registerGradients();
  await prove();
  return { ...loaded, threads: loaded.threads() };
}

/** Spares `auto` the loading of a library that could only find a card in software. @throws Error with the reason. */
async function expectHardware(name: BackendName): Promise<void> {
  if (name !== 'webgpu' || !isNode()) return;
  const { hasGraphicsCard, isDawnInstalled } = await import('./webgpu.node.ts');
  if (isDawnInstalled() && !hasGraphicsCard()) throw new Error('this machine shows no graphics card');
}

function refuseSoftware({ isSoftware, device }: LoadedBackend): void {
  if (isSoftware) throw new Error(`there is no graphics card, only software in place of one (${device})`);
}

/** Computes x W and the gradient of the sum of its squares, 2 (x W) Wᵀ, and compares with the known values. */
async function prove(): Promise<void> {
  const results = tidy(() => {
    const x = tensor2d([1, 2, 3, 4], [2, 2]);
    const weight = tensor2d([1, -1, 0.5, 2], [2, 2]);
    const gradientOf = grad((input: Tensor) => sum(square(matMul(input, weight))));
    return [matMul(x, weight), gradientOf(x)];
  });
  try {
    await expectValues('a product', results[0]!, [2, 3, 5, 5]);
    await expectValues('a gradient', results[1]!, [-2, 14, 0, 25]);
  } finally {
    for (const result of results) result.dispose();
  }
}

async function expectValues(what: string, found: Tensor, expected: readonly number[]): Promise<void> {
  const values = [...(await found.data())];
  if (!expected.every((value, index) => Math.abs(value - values[index]!) < 1e-5)) {
    throw new Error(`${what} came out as [${values.join(', ')}], expected [${expected.join(', ')}]`);
  }
}

/** The core package has the operations without their gradients; in Node only the package that holds everything brings them. */
async function registerGradients(): Promise<void> {
  if (isNode()) await import('@tensorflow/tfjs');
  else await import('@tensorflow/tfjs-core/dist/register_all_gradients.js');
}
