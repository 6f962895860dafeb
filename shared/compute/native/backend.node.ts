/**
 * The back end `native`: tensors are typed arrays in the process's memory, as on the plain back end, so that every kernel of the plain back end
 * works on them as it is; kernels that matter run on ONNX Runtime ({@link openEngine}) on the same arrays, without a copy.
 *
 * Memory of results comes from a pool. An array leaves the pool for good when someone reads it, since reading gives the array itself; a kernel
 * of the plain back end that makes a view on another tensor's memory gets a copy.
 */

import { totalmem } from 'node:os';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { DataId, DataType } from '@tensorflow/tfjs-core';
import { type BufferPool, createBufferPool } from './buffer-pool.ts';
import { type Engine, openEngine } from './engine.node.ts';
import type { KernelHost, Output } from './kernels.ts';
import { createPackedProducts, type PackedProducts } from './packed-products.ts';
import type { EngineArray } from './programs.ts';

/** Name under which the back end is registered. */
export const nativeBackendName = 'native';

/** Bytes that the pool keeps ready: about the results of one training step of a base-sized model. */
const freeBytesMax = 512 * 2 ** 20;

/** Of the machine's memory, what packed matrices may take. */
const packedShareMax = 1 / 8;

/** Smaller results are left to the garbage collector. */
const pooledBytesMin = 4096;

interface Entry {
  values?: unknown;
  readonly dtype: DataType;
  refCount: number;
  /** The pool's buffer behind `values`. */
  lease?: ArrayBuffer | undefined;
}

/** The back end's object. Kernels take `engine` and `output`; the rest is what TensorFlow.js calls. */
export class NativeBackend extends MathBackendCPU implements KernelHost {
  readonly engine: Engine;
  readonly pool: BufferPool = createBufferPool(freeBytesMax);
  readonly packed: PackedProducts | null;
  readonly threads: number;

  constructor(threads: number) {
    super();
    this.threads = threads;
    const engine = openEngine({ threads });
    this.engine = engine;
    this.packed =
      threads > 1 ? null : createPackedProducts({ prepare: engine.prepare, bytesMax: packedShareMax * totalmem() });
    // On its first use the plain back end recommends another package on the console.
    Reflect.set(this, 'firstUse', false);
  }

  /** A float32 result of `shape`; `values` holds leftovers. */
  output(shape: readonly number[]): Output {
    let size = 1;
    for (const extent of shape) size *= extent;
    if (4 * size < pooledBytesMin) {
      const values = new Float32Array(size);
      return { values, info: this.makeTensorInfo([...shape], 'float32', values) };
    }
    const lease = this.pool.take(4 * size);
    const values = new Float32Array(lease, 0, size);
    const dataId = super.write([] as unknown as Float32Array, [...shape], 'float32');
    const entry = this.#entry(dataId);
    entry.values = values;
    entry.lease = lease;
    return { values, info: { dataId, shape: [...shape], dtype: 'float32' } };
  }

  /** The array of a tensor, borrowed: for the length of one kernel. */
  values(tensor: { readonly dataId: DataId }): EngineArray {
    return this.#entry(tensor.dataId).values as EngineArray;
  }

  #entry(dataId: DataId): Entry {
    return this.data.get(dataId) as Entry;
  }

  override write(...[values, shape, dtype]: Parameters<MathBackendCPU['write']>): DataId {
    const isView = ArrayBuffer.isView(values) && this.pool.owns(values.buffer);
    return super.write(isView ? values.slice() : values, shape, dtype);
  }

  override readSync(dataId: DataId): ReturnType<MathBackendCPU['readSync']> {
    const entry = this.#entry(dataId);
    if (entry.lease !== undefined) {
      this.pool.release(entry.lease);
      entry.lease = undefined;
    }
    return super.readSync(dataId);
  }

  override disposeData(dataId: DataId, force = false): boolean {
    const lease = this.data.has(dataId) ? this.#entry(dataId).lease : undefined;
    const isFreed = super.disposeData(dataId, force);
    if (this.data.has(dataId)) return isFreed;
    if (lease !== undefined) this.pool.give(lease);
    this.packed?.drop(dataId);
    return isFreed;
  }

  override dispose(): void {
    this.packed?.clear();
    this.engine.dispose();
    this.pool.clear();
  }
}
