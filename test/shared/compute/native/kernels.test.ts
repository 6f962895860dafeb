import { strict as assert } from 'node:assert';
import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { agree, type Operation, operand, type Shape, special } from './agree.ts';
import { requireNative } from './available.ts';

/** Shapes of two operands that broadcast: small, scalar, rows, columns, both sides, none of a kind, beyond every threshold. */
const pairs: readonly (readonly [Shape, Shape])[] = [
  [
    [3, 4],
    [3, 4],
  ],
  [
    [40, 30],
    [40, 30],
  ],
  [[40, 30], []],
  [[40, 30], [30]],
  [
    [40, 1],
    [1, 30],
  ],
  [
    [2, 1, 64, 3],
    [5, 1, 3],
  ],
  [[0, 5], [5]],
  [
    [100, 200],
    [100, 200],
  ],
];
const singles: readonly Shape[] = [[], [7], [0, 3], [40, 30], [2, 3, 4, 50], [100, 200]];

const unary: Readonly<Record<string, Operation>> = {
  abs: tf.abs,
  exp: tf.exp,
  log: tf.log,
  neg: tf.neg,
  reciprocal: tf.reciprocal,
  relu: tf.relu,
  sigmoid: tf.sigmoid,
  sqrt: tf.sqrt,
  rsqrt: tf.rsqrt,
  square: tf.square,
  tanh: tf.tanh,
  erf: tf.erf,
  step: (x) => tf.step(x!, 0.5),
};
const binary: Readonly<Record<string, Operation>> = {
  add: (a, b) => tf.add(a!, b!),
  sub: (a, b) => tf.sub(a!, b!),
  mul: (a, b) => tf.mul(a!, b!),
  div: (a, b) => tf.div(a!, b!),
  maximum: (a, b) => tf.maximum(a!, b!),
  minimum: (a, b) => tf.minimum(a!, b!),
  squaredDifference: (a, b) => tf.squaredDifference(a!, b!),
};

describe('kernels of the native back end', () => {
  before(function () {
    requireNative(this);
  });
  const random = seededRandom(11, 'native-kernels');
  after(() => useBackend('cpu'));

  for (const [name, operation] of Object.entries(unary)) {
    it(`[NAT-1] ${name} is that of the plain back end, for every size and for what is not finite`, async () => {
      for (const shape of singles) await agree(`${name} [${String(shape)}]`, operation, [operand(random, shape)]);
      await agree(`${name} special`, operation, [operand(random, [40, 30], special)]);
    });
  }

  for (const [name, operation] of Object.entries(binary)) {
    it(`[NAT-2] ${name} broadcasts as the plain back end does`, async () => {
      for (const [a, b] of pairs) {
        await agree(`${name} [${String(a)}] [${String(b)}]`, operation, [operand(random, a), operand(random, b)]);
        await agree(`${name} turned [${String(b)}] [${String(a)}]`, operation, [
          operand(random, b),
          operand(random, a),
        ]);
      }
      await agree(`${name} special`, operation, [operand(random, [40, 30], special), operand(random, [40, 30])]);
    });
  }

  it('[NAT-3] products take operands as they are or transposed, with batches that broadcast, a bias and an activation', async () => {
    for (const [batchA, batchB] of [
      [[], []],
      [[1], [3]],
      [[3], [3]],
      [[0], [0]],
    ] as const) {
      for (const [m, k, n] of [
        [3, 4, 5],
        [1, 1, 1],
        [70, 130, 50],
        [3, 0, 2],
      ] as const) {
        for (const transposeA of [false, true]) {
          for (const transposeB of [false, true]) {
            const a = operand(random, [...batchA, ...(transposeA ? [k, m] : [m, k])]);
            const b = operand(random, [...batchB, ...(transposeB ? [n, k] : [k, n])]);
            const what = `[${String(a.shape)}] [${String(b.shape)}] ${transposeA} ${transposeB}`;
            await agree(what, (x, y) => tf.matMul(x!, y!, transposeA, transposeB), [a, b]);
          }
        }
      }
    }
    // Here the plain back end pairs the wrong matrices, so each pair is multiplied by itself.
    await useBackend('native');
    tf.tidy(() => {
      const a = operand(random, [2, 1, 3, 4]);
      const b = operand(random, [1, 3, 4, 5]);
      const [left, right] = [tf.tensor(a.values, [2, 1, 3, 4]), tf.tensor(b.values, [1, 3, 4, 5])];
      const one = (stack: tf.Tensor, axis: number, index: number) =>
        tf.squeeze(tf.gather(stack, [index], axis), [0, 1]);
      const pairsOf = [0, 1].map((i) => tf.stack([0, 1, 2].map((j) => tf.matMul(one(left, 0, i), one(right, 1, j)))));
      const difference = tf.max(tf.abs(tf.sub(tf.matMul(left, right), tf.stack(pairsOf)))).dataSync()[0]!;
      assert.ok(difference < 1e-6, `differs by ${difference}`);
    });
    for (const activation of ['linear', 'relu', 'sigmoid', 'elu', 'relu6'] as const) {
      const operands = [operand(random, [30, 20]), operand(random, [20, 40]), operand(random, [40])];
      await agree(activation, (a, b, bias) => tf.fused.matMul({ a: a!, b: b!, bias: bias!, activation }), operands);
    }
  });

  it('[NAT-4] sums, means, extremes and softmax over any axes', async () => {
    const axesOf: readonly (readonly number[] | undefined)[] = [undefined, [0], [1], [-1], [0, 2], [0, 1, 2]];
    for (const reduce of [tf.sum, tf.mean, tf.max, tf.min]) {
      for (const axes of axesOf) {
        for (const keepDims of [false, true]) {
          const operation: Operation = (x) => reduce(x!, axes && [...axes], keepDims);
          await agree(`${reduce.name} ${String(axes)}`, operation, [operand(random, [5, 40, 30])], 1e-5);
          await agree(`${reduce.name} ${String(axes)} small`, operation, [operand(random, [2, 3, 2])]);
        }
      }
      for (const shape of [
        [300, 3],
        [40, 37],
        [3, 20, 21],
      ])
        for (const axis of shape.keys())
          await agree(
            `${reduce.name} special [${String(shape)}] ${axis}`,
            (x) => reduce(x!, axis),
            [operand(random, shape, special)],
            1e-5,
          );
    }
    await agree('sum of nothing', (x) => tf.sum(x!, 0), [operand(random, [0, 4])]);
    for (const shape of [[7], [3, 5], [20, 400], [2, 3, 4, 9]]) {
      await agree(`softmax [${String(shape)}]`, (x) => tf.softmax(x!), [operand(random, shape)]);
      await agree(`log softmax [${String(shape)}]`, (x) => tf.logSoftmax(x!), [operand(random, shape)]);
    }
  });

  it('[NAT-5] transpositions, slices, padding, concatenation, gathering and splits move values where they belong', async () => {
    const x = operand(random, [6, 7, 20]);
    const operations: Readonly<Record<string, Operation>> = {
      transpose: (t) => tf.transpose(t!, [2, 0, 1]),
      slice: (t) => tf.slice(t!, [1, 2, 3], [4, -1, 10]),
      'slice of rows': (t) => tf.slice(t!, [2, 0, 0], [3, 7, 20]),
      'slice of nothing': (t) => tf.slice(t!, [2, 0, 0], [0, 7, 20]),
      'slice of middle rows': (t) => tf.slice(t!, [1, 2, 0], [4, 3, 20]),
      pad: (t) =>
        tf.pad(
          t!,
          [
            [1, 0],
            [0, 2],
            [3, 4],
          ],
          0.5,
        ),
      'pad in front': (t) =>
        tf.pad(t!, [
          [2, 1],
          [0, 0],
          [0, 0],
        ]),
      concat0: (t) => tf.concat([t!, tf.mul(t!, 2)], 0),
      concat1: (t) => tf.concat([t!, tf.slice(t!, [0, 1, 0], [6, 2, 20])], 1),
      concat2: (t) => tf.concat([t!, t!, tf.slice(t!, [0, 0, 0], [6, 7, 1])], 2),
      gather: (t) => tf.gather(t!, tf.tensor1d([5, 0, 5, 2], 'int32')),
      'gather along 1': (t) => tf.gather(t!, tf.tensor1d([6, 0], 'int32'), 1),
      split: (t) => tf.add(tf.split(t!, 2, 0)[1]!, tf.split(t!, 2, 0)[0]!),
      'split in the middle': (t) => tf.concat(tf.split(t!, [3, 0, 4], 1).reverse(), 1),
      'split of the last axis': (t) => tf.concat(tf.split(t!, 4, -1).reverse(), -1),
      unstack: (t) => tf.add(tf.unstack(t!)[5]!, tf.unstack(t!)[0]!),
      addN: (t) => tf.addN([t!, t!, tf.mul(t!, 3)]),
      reverse: (t) => tf.reverse(t!, 1),
      tile: (t) => tf.tile(t!, [1, 2, 1]),
      where: (t) => tf.where(tf.greater(t!, 0), t!, tf.zerosLike(t!)),
      cumsum: (t) => tf.cumsum(t!, 1),
    };
    for (const [name, operation] of Object.entries(operations)) await agree(name, operation, [x]);
    await useBackend('native');
    assert.throws(
      () => tf.tidy(() => tf.gather(tf.tensor2d(x.values, [120, 7]), tf.tensor1d([120], 'int32'))),
      /not in/,
    );
  });

  it('[NAT-6] whole numbers, truth values and views take the plain kernels, on the same memory', async () => {
    await useBackend('native');
    tf.tidy(() => {
      const whole = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2], 'int32'), tf.tensor2d([1, 0, 0, 1], [2, 2], 'int32'));
      assert.deepEqual([...whole.dataSync()], [1, 2, 3, 4]);
      const source = tf.fill([100, 100], 2);
      const doubled = tf.mul(source, 2);
      const view = tf.stridedSlice(doubled, [10, 0], [20, 100], [1, 1]);
      doubled.dispose();
      // Takes the memory that the product gave back, if the view had not been given its own.
      tf.mul(source, 5);
      assert.deepEqual([...new Set(view.dataSync())], [4]);
    });
  });

  it('[NAT-7] an array that was read stays as it is', async () => {
    await useBackend('native');
    const product = tf.tidy(() => tf.mul(tf.ones([100, 100]), 3));
    const values = product.dataSync();
    product.dispose();
    tf.tidy(() => tf.mul(tf.ones([100, 100]), 7));
    assert.deepEqual([...new Set(values)], [3]);
  });
});
