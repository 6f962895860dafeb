/**
 * Whether the device still computes: a lost context of a graphics card, a driver with a fault or memory that went bad give wrong numbers without an
 * error. A client runs this before it trains in a round, since one wrong update spoils the aggregate of all.
 */
import {
  getBackend,
  grad,
  matMul,
  softmax,
  square,
  sum,
  type Tensor,
  type Tensor2D,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import { errorMessage, FederationError } from '../core/errors.ts';
import { seededRandom } from '../core/random.ts';
import { webGlLoss } from './webgl.ts';
import { webGpuLoss } from './webgpu.ts';

const [rowCount, innerSize, columnCount] = [24, 40, 20];

/** Largest error that float32 explains, relative to values of order 1. */
const tolerance = 1e-3;

interface Expected {
  readonly input: Float32Array;
  readonly weight: Float32Array;
  readonly probabilities: Float64Array;
  readonly gradient: Float64Array;
}

let expected: Expected | null = null;

/**
 * Computes a product with a softmax, and the gradient of the product's squares, on the current back end, and compares both with float64.
 * @throws FederationError `device-lost` where the device is known to be gone; `device-computes-wrong`, which says what came out.
 */
export async function checkDevice(): Promise<void> {
  const loss = lossOfDevice();
  if (loss !== null) throw deviceLost(loss, undefined);
  expected ??= compute();
  const { input, weight, probabilities, gradient } = expected;
  const results = tidy(() => {
    const x = tensor2d(input, [rowCount, innerSize]);
    const w = tensor2d(weight, [innerSize, columnCount]);
    const gradientOf = grad((value: Tensor) => sum(square(matMul(value as Tensor2D, w))));
    return [softmax(matMul(x, w)), gradientOf(x)];
  });
  try {
    compare('a product with a softmax', await valuesOf(results[0]!), probabilities);
    compare('a gradient', await valuesOf(results[1]!), gradient);
  } finally {
    for (const result of results) result.dispose();
  }
}

function lossOfDevice(): string | null {
  const name = getBackend();
  if (name === 'webgpu') return webGpuLoss();
  return name === 'webgl' ? webGlLoss() : null;
}

function deviceLost(loss: string, cause: unknown): FederationError {
  const message = `this device does not compute any more: ${loss}; restart the client, or choose another back end with --backend`;
  return new FederationError('device-lost', message, { cause });
}

/** A device that is lost while it computes may refuse to give values back. */
async function valuesOf(result: Tensor): Promise<ArrayLike<number>> {
  try {
    return await result.data();
  } catch (cause) {
    throw deviceLost(lossOfDevice() ?? errorMessage(cause), cause);
  }
}

function compare(what: string, values: ArrayLike<number>, known: Float64Array): void {
  for (let index = 0; index < known.length; index++) {
    const [value, right] = [values[index]!, known[index]!];
    if (Math.abs(value - right) <= tolerance * Math.max(1, Math.abs(right))) continue;
    const loss = lossOfDevice();
    if (loss !== null) throw deviceLost(loss, undefined);
    throw new FederationError(
      'device-computes-wrong',
      `this device computes wrong: value ${index} of ${what} is ${value}, expected ${right}; ` +
        'restart the client, or choose another back end with --backend',
    );
  }
}

/** The same in float64, written out. */
function compute(): Expected {
  const random = seededRandom(1, 'canary');
  const drawn = (size: number, scale: number) => Float32Array.from({ length: size }, () => scale * random.normal());
  const input = drawn(rowCount * innerSize, 1);
  const weight = drawn(innerSize * columnCount, 0.2);
  const probabilities = new Float64Array(rowCount * columnCount);
  const gradient = new Float64Array(rowCount * innerSize);
  for (let row = 0; row < rowCount; row++) {
    const scores = Array.from({ length: columnCount }, (_, column) => {
      let score = 0;
      for (let k = 0; k < innerSize; k++) score += input[row * innerSize + k]! * weight[k * columnCount + column]!;
      return score;
    });
    const total = scores.reduce((all, score) => all + Math.exp(score), 0);
    for (const [column, score] of scores.entries()) probabilities[row * columnCount + column] = Math.exp(score) / total;
    for (let k = 0; k < innerSize; k++) {
      const slope = scores.reduce((all, score, column) => all + score * weight[k * columnCount + column]!, 0);
      gradient[row * innerSize + k] = 2 * slope;
    }
  }
  return { input, weight, probabilities, gradient };
}
