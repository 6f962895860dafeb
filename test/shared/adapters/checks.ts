/** What several tests of adapters measure. */
import { strict as assert } from 'node:assert';
import { grads, type Tensor, type Tensor2D, tensor, tidy } from '@tensorflow/tfjs-core';
import type { BoundAdapter } from '../../../shared/adapters/registry.ts';
import { type SeededRandom, seededRandom } from '../../../shared/core/random.ts';

/** Trained values in one adapter. */
export function parameterCount({ tensors }: Pick<BoundAdapter, 'tensors'>): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0);
}

/** The initial tensors of an adapter by name. */
export function initialTensors(adapter: BoundAdapter, seed = 1): Map<string, Tensor> {
  const random = seededRandom(seed, 'test');
  return new Map(
    adapter.tensors.map((specification) => {
      const values = adapter.initialise(specification, random.fork(specification.name));
      return [specification.name, tensor(values, [...specification.shape])];
    }),
  );
}

/** Normal values for every tensor of an adapter, so that nothing is zero by chance. */
export function randomTensors(adapter: BoundAdapter, deviation = 0.5, seed = 2): Map<string, Tensor> {
  const random = seededRandom(seed, 'test');
  return new Map(
    adapter.tensors.map(({ name, shape }) => {
      const stream = random.fork(name);
      const size = shape.reduce((product, extent) => product * extent, 1);
      const values = Float32Array.from({ length: size }, () => deviation * stream.normal());
      return [name, tensor(values, [...shape])];
    }),
  );
}

/** A normal tensor `[rows, columns]`. */
export function randomMatrix(rows: number, columns: number, random: SeededRandom): Tensor2D {
  const values = Float32Array.from({ length: rows * columns }, () => random.normal());
  return tensor(values, [rows, columns]);
}

/** A context without training. */
export function evaluating(parameters: ReadonlyMap<string, Tensor>) {
  return { parameters, training: false, random: seededRandom(3) } as const;
}

/** Asserts that two lists of numbers agree to `tolerance`. */
export function assertClose(found: Iterable<number>, expected: readonly number[], tolerance: number): void {
  const values = [...found];
  assert.equal(values.length, expected.length);
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs(values[index]! - value) <= tolerance, `value ${index}: ${values[index]} is not ${value}`);
  }
}

/**
 * Asserts that the gradient of `scalarOf` with respect to every parameter equals central differences, to 1 % of the larger of 1 and the
 * largest difference: what float32 gives.
 */
export function assertGradients(
  parameters: ReadonlyMap<string, Tensor>,
  scalarOf: (parameters: ReadonlyMap<string, Tensor>) => Tensor,
): void {
  const names = [...parameters.keys()];
  const start = names.map((name) => parameters.get(name)!);
  const named = (tensors: readonly Tensor[]) => new Map(names.map((name, index) => [name, tensors[index]!]));
  const analytic = grads((...tensors: Tensor[]) => scalarOf(named(tensors)).asScalar())(start);
  const step = 1e-2;
  for (const [index, name] of names.entries()) {
    const values = start[index]!.dataSync();
    const valueAt = (place: number, change: number) =>
      tidy(() => {
        const moved = Float32Array.from(values);
        moved[place]! += change;
        const replaced = start.map((old, other) => (other === index ? tensor(moved, old.shape) : old));
        return scalarOf(named(replaced)).dataSync()[0]!;
      });
    const numeric = Array.from(values, (_, place) => (valueAt(place, step) - valueAt(place, -step)) / (2 * step));
    const scale = Math.max(1, ...numeric.map(Math.abs));
    const found = analytic[index]!.dataSync();
    for (const [place, expected] of numeric.entries()) {
      const difference = Math.abs(found[place]! - expected);
      assert.ok(difference <= 0.01 * scale, `${name}[${place}]: gradient ${found[place]}, differences ${expected}`);
    }
  }
}
