/**
 * One step of AdamW for any number of tensors in one call, with the clipping of their global norm: what the library composes of a dozen kernels, each of
 * which reads and writes all of it, is one pass here.
 *
 *     g' = clip g   m' = b1 m + (1 - b1) g'   v' = b2 v + (1 - b2) g'^2   w' = w - rate m' / (root sqrt(v') + epsilon) - decay w
 *
 * with clip = n / max(n, |g|) over all tensors, rate = lr / (1 - b1^t) and root = 1 / sqrt(1 - b2^t). Moments are written over, parameters are new tensors:
 * whoever holds the old ones still has them. It runs where tensors lie in memory of the process (WebAssembly, native, plain).
 */
import { engine, getBackend, getKernel, type Tensor, type TensorInfo } from '@tensorflow/tfjs-core';
import type { FloatHost } from './float-host.ts';
import { overStagedRows } from './simd/stage.ts';

/** Name under which the kernel is registered. */
export const adamStepKernel = 'TributaryAdamStep';

/** A tensor that takes a step. */
export interface AdamPart {
  readonly parameters: Tensor;
  readonly gradient: Tensor;
  /** Of no other use: written over. */
  readonly firstMoment: Tensor;
  readonly secondMoment: Tensor;
  /** Steps that it took, this one too. */
  readonly stepCount: number;
  /** The learning rate of the step. */
  readonly rate: number;
  /** What of itself it loses. */
  readonly decay: number;
}

/** What all tensors share. */
export interface AdamSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** 0 for none. */
  readonly clipNorm: number;
}

/** Whether the current back end has the kernel. */
export function hasAdamStep(): boolean {
  return getKernel(adamStepKernel, getBackend()) !== undefined;
}

/** Takes a step; returns the new parameters in order. */
export function adamStep(parts: readonly AdamPart[], settings: AdamSettings): Tensor[] {
  if (parts.length === 0) return [];
  const inputs: Record<string, Tensor> = {};
  for (const [index, { parameters, gradient, firstMoment, secondMoment }] of parts.entries()) {
    inputs[`w${index}`] = parameters;
    inputs[`g${index}`] = gradient;
    inputs[`m${index}`] = firstMoment;
    inputs[`v${index}`] = secondMoment;
  }
  const { beta1, beta2 } = settings;
  const results = engine().runKernel(adamStepKernel, inputs as Record<string, Tensor & TensorInfo>, {
    ...settings,
    rates: parts.map(({ rate, stepCount }) => rate / (1 - beta1 ** stepCount)),
    roots: parts.map(({ stepCount }) => 1 / Math.sqrt(1 - beta2 ** stepCount)),
    decays: parts.map(({ decay }) => decay),
  });
  return Array.isArray(results) ? results : [results as Tensor];
}

/** The numbers of a step of one tensor: clip, b1, 1 - b1, b2, 1 - b2, root, epsilon, rate, decay. */
export type AdamNumbers = readonly [number, number, number, number, number, number, number, number, number];

/** The arrays of a tensor in a step; `out` may be `w`. */
export interface AdamArrays {
  readonly w: Float32Array;
  readonly g: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly out: Float32Array;
}

/** What the kernel needs of a back end. */
export interface AdamHost extends FloatHost {
  /** Moves values four at a time, and returns how many it moved; the rest is moved here. */
  readonly move: (arrays: AdamArrays, numbers: AdamNumbers) => number;
}

/** The kernel. */
export function runAdamStep({ inputs, attrs, output, values, move }: AdamHost): TensorInfo[] {
  const { beta1, beta2, epsilon, clipNorm, rates, roots, decays } = attrs as unknown as AdamSettings &
    Readonly<Record<'rates' | 'roots' | 'decays', readonly number[]>>;
  const results = rates.map((_, index) => output(inputs[`w${index}`]!.shape));
  const arrayOf = (name: string): Float32Array => values(inputs[name]!);
  let clip = 1;
  if (clipNorm > 0) {
    const squares = rates.reduce((sum, _, index) => sum + sumOfSquares(arrayOf(`g${index}`)), 0);
    clip = clipNorm / Math.max(Math.sqrt(squares), clipNorm);
  }
  for (const [index, result] of results.entries()) {
    const [w, g, m, v] = ['w', 'g', 'm', 'v'].map((name) => arrayOf(`${name}${index}`)) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const arrays = { w, g, m, v, out: values(result) };
    const numbers: AdamNumbers = [
      clip,
      beta1,
      1 - beta1,
      beta2,
      1 - beta2,
      roots[index]!,
      epsilon,
      rates[index]!,
      decays[index]!,
    ];
    moveFrom(move(arrays, numbers), arrays, numbers);
  }
  return results;
}

/** Four sums, so that no addition waits for the one before it. */
function sumOfSquares(values: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let index = 0; index < whole; index += 4) {
    a += values[index]! * values[index]!;
    b += values[index + 1]! * values[index + 1]!;
    c += values[index + 2]! * values[index + 2]!;
    d += values[index + 3]! * values[index + 3]!;
  }
  for (let index = whole; index < values.length; index++) a += values[index]! * values[index]!;
  return a + b + c + d;
}

/** Values from `start` on, one by one. */
function moveFrom(start: number, { w, g, m, v, out }: AdamArrays, numbers: AdamNumbers): void {
  const [clip, beta1, share1, beta2, share2, root, epsilon, rate, decay] = numbers;
  for (let index = start; index < w.length; index++) {
    const gradient = clip * g[index]!;
    const first = beta1 * m[index]! + share1 * gradient;
    const second = beta2 * v[index]! + share2 * gradient * gradient;
    m[index] = first;
    v[index] = second;
    out[index] = w[index]! - (rate * first) / (root * Math.sqrt(second) + epsilon) - decay * w[index]!;
  }
}

/** {@link AdamHost.move} for arrays outside of WebAssembly. */
export function moveStaged({ w, g, m, v, out }: AdamArrays, numbers: AdamNumbers): number {
  const size = 4;
  const rowCount = Math.floor(w.length / size);
  if (rowCount === 0) return 0;
  const isDone = overStagedRows(
    {
      rowCount,
      size,
      shared: [],
      inputs: [w, g, m, v].map((values) => ({ values, size })),
      outputs: [
        { values: out, size, over: 0 },
        { values: m, size, over: 2 },
        { values: v, size, over: 3 },
      ],
    },
    (kernels, [wAt, gAt, mAt, vAt], rows) => kernels.adam(wAt!, gAt!, mAt!, vAt!, wAt!, size * rows, ...numbers),
  );
  return isDone ? size * rowCount : 0;
}
