/** Comparison of the native back end with the plain one. */
import { strict as assert } from 'node:assert';
import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import type { SeededRandom } from '../../../../shared/core/random.ts';

/** Extents of a tensor. */
export type Shape = readonly number[];

/** What is compared. */
export type Operation = (...tensors: tf.Tensor[]) => tf.Tensor | readonly tf.Tensor[];

/** Values that arithmetic must carry through as they are. */
export const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 1e30, -1e30, 1e-30];

/** A float32 tensor to be. */
export interface Operand {
  readonly shape: Shape;
  readonly values: Float32Array;
}

/** Drawn values, every third of them out of `among` where there are some. */
export function operand(random: SeededRandom, shape: Shape, among: readonly number[] = []): Operand {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const values = Float32Array.from({ length: size }, () => random.normal());
  if (among.length > 0)
    for (let index = 0; index < size; index += 3) values[index] = among[(index / 3) % among.length]!;
  return { shape, values };
}

/** What an operation gives on a back end. */
async function on(backend: 'native' | 'cpu', operation: Operation, operands: readonly Operand[]) {
  await useBackend(backend);
  return tf.tidy(() => {
    const inputs = operands.map(({ shape, values }) => tf.tensor(values.slice(), [...shape], 'float32'));
    return [operation(...inputs)]
      .flat()
      .map((one: tf.Tensor) => ({ shape: one.shape, values: one.dataSync().slice() }));
  });
}

/** Compares the back ends; `tolerance` is relative to the largest value, and what is not finite must be equal. */
export async function agree(what: string, operation: Operation, operands: readonly Operand[], tolerance = 2e-6) {
  const expected = await on('cpu', operation, operands);
  const found = await on('native', operation, operands);
  for (const [place, result] of expected.entries())
    compare(`${what}, result ${place}`, found[place]!, result, tolerance);
}

type Result = Awaited<ReturnType<typeof on>>[number];

function compare(what: string, found: Result, expected: Result, tolerance: number): void {
  assert.deepEqual(found.shape, expected.shape, what);
  let scale = 1;
  for (const value of expected.values) if (Math.abs(value) < 1e6) scale = Math.max(scale, Math.abs(value));
  for (const [index, value] of expected.values.entries()) {
    const other = found.values[index]!;
    const isEqual = Object.is(value, other) || value === other;
    const isNear = Math.abs(value - other) <= tolerance * Math.max(scale, Math.abs(value));
    if (!isEqual && !isNear) assert.fail(`${what}: value ${index} is ${other}, expected ${value}`);
  }
}
