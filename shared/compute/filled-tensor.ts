/**
 * Tensors whose values are written to where the back end keeps them. On WebAssembly and in plain JavaScript that saves a copy of every
 * weight; other back ends get an array, which is free again afterwards.
 */
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { engine, getBackend, type Tensor, tensor } from '@tensorflow/tfjs-core';
import { FederationError } from '../core/errors.ts';
import { placeFor } from './shared-weights.ts';

/** Where WebAssembly's memory ends: its addresses have 32 bits. */
const wasmBytesMax = 2 ** 32;

/**
 * A float32 tensor of `shape` with the values that `fill` writes. `fill` gets zeros or leftovers, and makes no tensors itself.
 * @throws FederationError `out-of-memory`; what `fill` throws.
 */
export function filledTensor(shape: readonly number[], fill: (values: Float32Array) => void): Tensor {
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (getBackend() !== 'wasm') {
    const { values, isFilled } = placeFor(size);
    if (!isFilled) fill(values);
    return tensor(values, [...shape], 'float32');
  }
  const backend = engine().backend as BackendWasm;
  // Beyond this, sizes wrap around inside and little would be given for much.
  if (4 * size >= wasmBytesMax) throw outOfMemory(size);
  const info = backend.makeOutput([...shape], 'float32');
  const made = engine().makeTensorFromTensorInfo(info);
  try {
    if (size > 0 && backend.getMemoryOffset(info.dataId) === 0) throw outOfMemory(size);
    fill(backend.typedArrayFromHeap(info) as Float32Array);
  } catch (thrown) {
    made.dispose();
    throw thrown;
  }
  return made;
}

function outOfMemory(size: number): FederationError {
  return new FederationError(
    'out-of-memory',
    `WebAssembly has no room for a tensor of ${size} values: its memory ends at 4 GiB; choose a smaller base, or another back end with --backend`,
  );
}
