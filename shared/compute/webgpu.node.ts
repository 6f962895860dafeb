/**
 * WebGPU in Node through Dawn, the package `webgpu`. Dawn answers only when its events are processed, which it asks the event loop to do; a
 * value that is read synchronously therefore processes them itself.
 */
import { existsSync, readdirSync } from 'node:fs';
import process from 'node:process';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { type BackendValues, util } from '@tensorflow/tfjs-core';
import { importOptional } from './backend.node.ts';

/** Whether the package is there; nothing of it is loaded. */
export function isDawnInstalled(): boolean {
  try {
    return import.meta.resolve('webgpu') !== '';
  } catch {
    return false;
  }
}

/** Opens Dawn, once per thread. What the library looks for under global names is put there. @throws Error when it does not load. */
export async function openDawn(): Promise<GPU> {
  const present = globalThis.navigator.gpu as GPU | undefined;
  if (present !== undefined) return present;
  // Without any driver the library complains on the terminal.
  if (!hasGraphicsCard() && !hasDriver()) throw new Error(noAdapterReason());
  const { create, globals } = (await importOptional('webgpu')) as typeof import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  followEvents();
  return gpu;
}

/**
 * Why nothing was found. On Linux a graphics card shows as a device file and has a driver for Vulkan; both can be missing, above all in
 * containers.
 */
export function noAdapterReason(): string {
  if (process.platform !== 'linux') return 'WebGPU finds no adapter on this machine';
  const card = hasGraphicsCard() ? 'has a graphics card, but' : 'shows no graphics card, and';
  return `this machine ${card} no driver for Vulkan answers (Debian: libvulkan1 and the driver of the card)`;
}

/** Whether the system shows a graphics card. Where that cannot be told, true. */
export function hasGraphicsCard(): boolean {
  if (process.platform !== 'linux') return true;
  if (process.env.VK_ICD_FILENAMES !== undefined || process.env.VK_DRIVER_FILES !== undefined) return true;
  const renders = existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('renderD'));
  return renders || ['/dev/nvidiactl', '/dev/dxg', '/dev/kgsl-3d0', '/dev/mali0'].some((path) => existsSync(path));
}

/** Whether a driver for Vulkan is installed, such as one in software. */
function hasDriver(): boolean {
  return ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'].some(
    (folder) => existsSync(folder) && readdirSync(folder).length > 0,
  );
}

/** Dawn's request to process its events, while the event loop has not come to it. */
let eventsWaiting: (() => void) | null = null;

/** Keeps an eye on what Dawn asks the event loop for while buffers are being mapped, so that it can be done at once. */
function followEvents(): void {
  const { mapAsync } = GPUBuffer.prototype;
  GPUBuffer.prototype.mapAsync = function (...range) {
    return following(() => mapAsync.apply(this, range));
  };
}

function following<Result>(act: () => Result): Result {
  const { setImmediate } = globalThis;
  const follow = (processEvents: () => void) => {
    const once = () => {
      if (eventsWaiting !== once) return;
      eventsWaiting = null;
      following(processEvents);
    };
    eventsWaiting = once;
    return setImmediate(once);
  };
  globalThis.setImmediate = follow as typeof setImmediate;
  try {
    return act();
  } finally {
    globalThis.setImmediate = setImmediate;
  }
}

/** The part of the back end that its declarations keep to themselves. */
interface Commands {
  readonly commandEncoder: GPUCommandEncoder;
  convertAndCacheOnCPU(dataId: object, values: BackendValues): BackendValues;
}

/** Gives the back end a synchronous reading, for which the library needs a canvas. */
export function readSynchronously(backend: WebGPUBackend): void {
  const readWithCanvas = backend.readSync.bind(backend);
  backend.readSync = (dataId) => {
    const { values, dtype, resource } = backend.tensorMap.get(dataId);
    if (values !== null && values !== undefined) return values;
    if (!(resource instanceof GPUBuffer) || dtype === 'complex64') return readWithCanvas(dataId);
    const { size } = resource;
    const staging = backend.device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    const commands = backend as unknown as Commands;
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    commands.commandEncoder.copyBufferToBuffer(resource, 0, staging, 0, size);
    backend.submitQueue();
    waitForMapping(staging);
    const bytes = staging.getMappedRange().slice(0);
    staging.unmap();
    staging.destroy();
    return commands.convertAndCacheOnCPU(dataId, util.convertBackendValuesAndArrayBuffer(bytes, dtype));
  };
}

function waitForMapping(buffer: GPUBuffer): void {
  let failure: unknown = null;
  buffer.mapAsync(GPUMapMode.READ).catch((thrown: unknown) => {
    failure = thrown;
  });
  while (buffer.mapState === 'pending' && eventsWaiting !== null) eventsWaiting();
  if (buffer.mapState === 'mapped') return;
  const reason = buffer.mapState === 'pending' ? 'this version of Dawn answers later only' : 'its device was lost';
  throw new Error(`WebGPU gives no values back: ${reason}`, { cause: failure });
}
