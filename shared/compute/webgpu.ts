/**
 * WebGPU, in browsers and in Node, with what the library leaves open: the device gets the limits of its adapter, a lost device is remembered,
 * and buffers that nobody uses are given back.
 */

import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { engine, findBackend, registerBackend, removeBackend } from '@tensorflow/tfjs-core';
import { errorMessage } from '../core/errors.ts';
import { isNode } from './place.ts';

/** A device for graphics that computes. */
export interface GraphicsDevice {
  /** Maker and model, as far as the driver tells. */
  readonly description: string;
  /** Whether it is no device at all: a processor that computes what a graphics card would, slower than the other back ends. */
  readonly isSoftware: boolean;
  /** Largest tensor; null where nothing says. */
  readonly tensorBytesMax: number | null;
}

/** Limits that kernels run into; a device has the least of each unless it is asked for more. */
const raisedLimits = [
  'maxBufferSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Bytes that are kept for reuse; what is freed beyond them goes back to the device. */
const pooledBytesMax = 2 ** 29;

const softwareNames = /swiftshader|llvmpipe|lavapipe|softpipe|microsoft basic render|software/i;

/** Whether the name that a driver gives is that of a renderer in software. */
export function isSoftwareName(name: string): boolean {
  return softwareNames.test(name);
}

let started: GraphicsDevice | null = null;
let lossReason: string | null = null;

/** Why the device of the back end no longer computes; null while it does. */
export function webGpuLoss(): string | null {
  return lossReason;
}

/**
 * Makes the back end `webgpu` known to TensorFlow.js, once, and again after its device was lost.
 * @throws Error when there is no adapter, or a package is missing.
 */
export async function registerWebGpu(): Promise<GraphicsDevice> {
  if (started !== null && lossReason === null && findBackend('webgpu') !== null) return started;
  const node = isNode() ? await import('./webgpu.node.ts') : null;
  const gpu = node === null ? globalThis.navigator?.gpu : await node.openDawn();
  if (gpu === undefined) throw new Error('this browser has no WebGPU');
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Error(node?.noAdapterReason() ?? 'WebGPU finds no adapter on this device');
  const { WebGPUBackend } = await loadPackage();
  const device = await adapter.requestDevice({
    requiredLimits: Object.fromEntries(raisedLimits.map((name) => [name, adapter.limits[name]])),
  });
  lossReason = null;
  void device.lost.then(({ reason, message }) => {
    lossReason = `its WebGPU device was lost (${[reason, message].filter((part) => part !== '').join(': ')})`;
  });
  const { vendor, architecture, device: model, description } = adapter.info;
  const name = [vendor, model || architecture, description && `(${description})`].filter(Boolean).join(' ');
  const isSoftware = adapter.info.isFallbackAdapter || isSoftwareName(name);
  // The package registers a back end of its own, whose device has fewer limits.
  if ('webgpu' in engine().registryFactory) removeBackend('webgpu');
  registerBackend('webgpu', () => {
    const backend = new WebGPUBackend(device, adapter.info);
    boundPool(backend);
    if (node !== null) node.readSynchronously(backend);
    else if (isSoftware) refuseSynchronousReading(backend);
    return backend;
  });
  started = {
    description: name || 'a device that gives no name',
    isSoftware,
    tensorBytesMax: Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize),
  };
  return started;
}

async function loadPackage(): Promise<typeof import('@tensorflow/tfjs-backend-webgpu')> {
  try {
    return await import('@tensorflow/tfjs-backend-webgpu');
  } catch (cause) {
    throw new Error(`@tensorflow/tfjs-backend-webgpu does not load: ${errorMessage(cause)}`, { cause });
  }
}

/** In browsers the library reads values at once through a canvas, which takes the whole graphics process down where it is software. */
function refuseSynchronousReading(backend: WebGPUBackend): void {
  backend.readSync = (dataId) => {
    const { values } = backend.tensorMap.get(dataId);
    if (values !== null && values !== undefined) return values;
    throw new Error(
      'WebGPU without a graphics card gives no values back at once in a browser, as the methods mixture and gate need it; choose another back end',
    );
  };
}

/** What {@link boundPool} needs of a back end. */
interface Pooling<Buffer extends { readonly size: number }> {
  readonly bufferManager: {
    readonly numBytesAllocated: number;
    readonly numBytesUsed: number;
    releaseBuffer(buffer: Buffer, reuse?: boolean): void;
  };
}

/**
 * Bounds what a back end keeps for reuse: the library keeps every buffer that was ever used, one list per size, which grows with every length of
 * text.
 */
export function boundPool<Buffer extends { readonly size: number }>(
  { bufferManager }: Pooling<Buffer>,
  bytesMax = pooledBytesMax,
): void {
  const release = bufferManager.releaseBuffer.bind(bufferManager);
  bufferManager.releaseBuffer = (buffer, reuse = true) => {
    const pooledBytes = bufferManager.numBytesAllocated - bufferManager.numBytesUsed;
    release(buffer, reuse && pooledBytes + buffer.size <= bytesMax);
  };
}
