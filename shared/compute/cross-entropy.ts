/**
 * Cross-entropy of rows of scores with one target each: softmax, logarithm of the target's share and gradient in one pass where tensors lie in memory of the
 * process (WebAssembly, native, plain), and composed from the library's kernels elsewhere. No row is compared with a row of zeros and a one, which for a
 * vocabulary is as large as its scores.
 *
 *     loss = mean w (m + log sum exp(s - m) - s[target])      gradient = w (softmax(s) - [label = target]) / rows
 *
 * with the largest score m of a row. Its share of the softmax is p = 1 / sum exp(s - m), which is never small, so the loss is m - log p - s[target].
 */
import {
  engine,
  gather,
  getBackend,
  getKernel,
  log,
  max,
  mul,
  reshape,
  type Scalar,
  softmax,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
  type TensorInfo,
  tensor1d,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { type Differentiable, withGradient } from './custom-gradient.ts';
import type { FloatHost } from './float-host.ts';
import { takeRows } from './rows.ts';

/** Name under which the kernel is registered. */
export const crossEntropyKernel = 'TributaryCrossEntropy';

/**
 * Mean over the rows of -weight[target] log softmax(scores)[target]; `scores` `[rows, labels]`, `targets` one index per row, or -1 for a row that is left
 * out. The sum is divided by the number of rows that are left, not by the sum of their weights: else the weights would cancel in a batch, or at a
 * site, of one label.
 */
export function crossEntropy(scores: Tensor2D, targets: ArrayLike<number>, weights?: readonly number[]): Scalar {
  const labelCount = scores.shape[1];
  const all = Array.from(targets);
  assert(all.length === scores.shape[0], 'every row of scores has a target');
  assert(
    all.every((target) => target >= -1 && target < labelCount),
    'targets are indices of labels',
  );
  const rows = all.flatMap((target, row) => (target === -1 ? [] : [row]));
  if (rows.length < all.length) {
    const left = rows.map((row) => all[row]!);
    return crossEntropy(takeRows(scores, rows), left, weights);
  }
  const isWhole = getKernel(crossEntropyKernel, getBackend()) !== undefined;
  return withGradient([scores], (given: Tensor2D) => (isWhole ? whole : composed)(given, all, weights));
}

function whole(scores: Tensor2D, targets: readonly number[], weights?: readonly number[]): Differentiable<Scalar> {
  const [value, gradient] = engine().runKernel(
    crossEntropyKernel,
    { scores } as Record<string, Tensor2D & TensorInfo>,
    { targets: [...targets], ...(weights !== undefined && { weights: [...weights] }) },
  ) as unknown as [Scalar, Tensor2D];
  return {
    value,
    saved: [gradient],
    backward: (upstream: Scalar, [slopes]) => [mul(slopes!, mul(upstream, 1 / Math.max(1, targets.length)))],
  };
}

/** The largest share of every row's softmax, and the logarithm of the row's sum of exponentials. */
export function extremesOf(scores: Tensor2D, shares: Tensor2D): { largest: Tensor1D; normaliser: Tensor1D } {
  const largest: Tensor1D = max(shares, 1);
  return { largest, normaliser: sub(max(scores, 1), log(largest)) };
}

/** The score of each row's target. */
export function ownScores(scores: Tensor2D, targets: readonly number[]): Tensor1D {
  const labelCount = scores.shape[1];
  const places = targets.map((target, row) => row * labelCount + target);
  return gather(reshape(scores, [-1]), tensor1d(places, 'int32'));
}

function composed(scores: Tensor2D, targets: readonly number[], weights?: readonly number[]): Differentiable<Scalar> {
  const [rowCount, labelCount] = scores.shape;
  const weightOf = (target: number): number => (weights?.[target] ?? 1) / Math.max(1, rowCount);
  const factors = tensor1d(targets.map(weightOf), 'float32');
  const shares = softmax(scores);
  const { normaliser } = extremesOf(scores, shares);
  return {
    value: sum<Scalar>(mul(sub(normaliser, ownScores(scores, targets)), factors)),
    saved: [shares, factors],
    backward: (upstream: Scalar, [keptShares, keptFactors]) => {
      // Written here and not compared on the back end, which takes a hundred times as long.
      const wanted = new Float32Array(rowCount * labelCount);
      for (const [row, target] of targets.entries()) wanted[row * labelCount + target] = 1;
      const difference = sub(keptShares!, tensor2d(wanted, [rowCount, labelCount]));
      return [mul(difference, reshape(mul(keptFactors!, upstream), [rowCount, 1]))];
    },
  };
}

/** Arrays of the softmax over rows: what is read, what is written, and the largest score and share of every row. */
export interface SoftmaxRows {
  readonly scores: Float32Array;
  readonly shares: Float32Array;
  readonly largestScores: Float32Array;
  readonly largestShares: Float32Array;
}

/** What the kernel needs of a back end. */
export interface CrossEntropyHost extends FloatHost {
  /** Fills all arrays but the scores; there is a row at least. */
  readonly soften: (rows: SoftmaxRows, size: number) => void;
}

/** The kernel: the mean loss, and the gradient of the sum. */
export function runCrossEntropy({ inputs, attrs, output, values, free, soften }: CrossEntropyHost): TensorInfo[] {
  const { targets, weights } = attrs as {
    readonly targets: readonly number[];
    readonly weights?: readonly number[];
  };
  const scores = inputs.scores!;
  const [rowCount, size] = scores.shape as [number, number];
  const tensors = [output([]), output([rowCount, size]), output([rowCount]), output([rowCount])] as const;
  const [loss, gradient, largestScores, largestShares] = tensors.map(values) as [
    ...[Float32Array, Float32Array, Float32Array, Float32Array],
  ];
  const read = values(scores);
  if (rowCount > 0) soften({ scores: read, shares: gradient, largestScores, largestShares }, size);
  let total = 0;
  for (const [row, target] of targets.entries()) {
    const start = row * size;
    const weight = weights?.[target] ?? 1;
    total += (weight / rowCount) * (largestScores[row]! - Math.log(largestShares[row]!) - read[start + target]!);
    gradient[start + target]! -= 1;
    if (weight === 1) continue;
    for (let index = start; index < start + size; index++) gradient[index]! *= weight;
  }
  loss[0] = total;
  for (const tensor of tensors.slice(2)) free(tensor);
  return tensors.slice(0, 2);
}

/** {@link CrossEntropyHost.soften} in plain loops. */
export function softenPlainly({ scores, shares, largestScores, largestShares }: SoftmaxRows, size: number): void {
  for (let row = 0; row < largestScores.length; row++) {
    const [start, end] = [row * size, (row + 1) * size];
    let largest = Number.NEGATIVE_INFINITY;
    for (let index = start; index < end; index++) if (scores[index]! > largest) largest = scores[index]!;
    let total = 0;
    for (let index = start; index < end; index++) total += shares[index] = Math.exp(scores[index]! - largest);
    for (let index = start; index < end; index++) shares[index]! /= total;
    largestScores[row] = largest;
    largestShares[row] = 1 / total;
  }
}
