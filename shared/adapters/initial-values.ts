/** Distributions of initial values. */
import type { SeededRandom } from '../core/random.ts';

/** Number of values of a shape. */
function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Zeros. */
export function zeroValues(shape: readonly number[]): Float32Array {
  return new Float32Array(sizeOf(shape));
}

/** Ones: gains and scales. */
export function oneValues(shape: readonly number[]): Float32Array {
  return zeroValues(shape).fill(1);
}

/** Uniform in ±1/√`fanIn`: what PyTorch calls Kaiming-uniform with a = √5 (He 2015, equation 10, with its gain for that a). */
export function kaimingUniform(shape: readonly number[], fanIn: number, random: SeededRandom): Float32Array {
  const bound = 1 / Math.sqrt(fanIn);
  return Float32Array.from({ length: sizeOf(shape) }, () => bound * (2 * random.uniform() - 1));
}

/** Normal with mean 0; values beyond `deviationsMax` standard deviations are drawn again. */
export function normalValues(
  shape: readonly number[],
  deviation: number,
  random: SeededRandom,
  deviationsMax = Number.POSITIVE_INFINITY,
): Float32Array {
  const draw = (): number => {
    for (;;) {
      const value = random.normal();
      if (Math.abs(value) <= deviationsMax) return deviation * value;
    }
  };
  return Float32Array.from({ length: sizeOf(shape) }, draw);
}
