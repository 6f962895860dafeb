import { strict as assert } from 'node:assert';
import { range, reshape, slice, split, type Tensor } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';

/** Every piece that the two operations cut out of small tensors, of both types of numbers. */
async function pieces(): Promise<unknown[]> {
  const found: unknown[] = [];
  const take = async (tensor: Tensor) => found.push([tensor.dtype, tensor.shape, [...(await tensor.data())]]);
  for (const type of ['float32', 'int32', 'bool'] as const) {
    const whole = range(0, 24, 1, type === 'bool' ? 'int32' : type);
    const typed: Tensor = type === 'bool' ? whole.greater(11) : whole;
    const [flat, cube] = [typed, reshape(typed, [2, 3, 4])];
    await take(slice(flat, [5], [7]));
    await take(slice(flat, [3], [-1]));
    await take(slice(cube, [1, 0, 0], [1, 3, 4]));
    await take(slice(cube, [1, 1, 0], [1, 2, 4]));
    await take(slice(cube, [0, 1, 2], [2, 2, 1]));
    await take(slice(cube, [0, 0, 1], [-1, -1, 2]));
    for (const part of split(flat, [1, 0, 20, 3])) await take(part);
    for (const axis of [0, 1, 2, -1])
      for (const part of split(cube, cube.shape[axis < 0 ? 3 + axis : axis]!, axis)) await take(part);
    for (const part of split(cube, [1, 3], 2)) await take(part);
  }
  return found;
}

describe('pieces of tensors on WebAssembly', () => {
  it('[CUT-1] are those of the plain back end', async () => {
    await useBackend('cpu');
    const expected = await pieces();
    await useBackend('wasm');
    assert.deepEqual(await pieces(), expected);
    assert.ok(expected.length > 60);
  });
});
