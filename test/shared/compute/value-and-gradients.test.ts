import { strict as assert } from 'node:assert';
import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { withGradient } from '../../../shared/compute/custom-gradient.ts';
import { valueAndGradients } from '../../../shared/compute/value-and-gradients.ts';

/** Every way in which operations share gradients: one operand twice, an operand of several operations, results that lead nowhere, parts of one tensor. */
function loss(x: tf.Tensor1D, y: tf.Tensor1D, frozen: tf.Tensor1D): tf.Scalar {
  const doubled = tf.add(x, x);
  const [head, tail] = tf.split(tf.mul(doubled, y), 2) as [tf.Tensor1D, tf.Tensor1D];
  tf.square(tail);
  const handedOn = withGradient([head, tf.slice(x, 0, 3)], (a: tf.Tensor1D, b: tf.Tensor1D) => ({
    value: tf.add<tf.Tensor1D>(a, b),
    saved: [],
    // The same tensor for both, and the one that came in.
    backward: (upstream: tf.Tensor1D) => [upstream, upstream],
  }));
  const gathered = tf.addN([handedOn, tf.square(head), tf.slice(tf.square(frozen), 3, 3)]);
  return tf.add(tf.sum(tf.mul(gathered, tf.exp(head))), tf.sum(tf.reshape(x, [2, 3])));
}

describe('value and gradients', () => {
  before(() => useBackend('cpu'));
  const values = [
    [1, -2, 3, 0.5, 0, -1],
    [0.3, 0.1, -0.2, 1, 2, 3],
    [5, 4, 3, 2, 1, 0],
  ];

  it('[VAG-1] gives what the library gives, and leaves no tensor', () => {
    const { numTensors } = tf.memory();
    tf.tidy(() => {
      const [x, y, frozen] = values.map((one) => tf.tensor1d(one)) as [tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
      const expected = tf.valueAndGrads((a, b) => loss(a as tf.Tensor1D, b as tf.Tensor1D, frozen))([x, y]);
      const found = valueAndGradients((a: tf.Tensor1D, b: tf.Tensor1D) => loss(a, b, frozen), [x, y] as const);
      assert.deepEqual(found.value.dataSync(), expected.value.dataSync());
      for (const [index, gradient] of found.gradients.entries())
        assert.deepEqual(gradient.dataSync(), expected.grads[index]!.dataSync());
    });
    assert.equal(tf.memory().numTensors, numTensors);
  });

  it('[VAG-2] frees what an operation saved as soon as its gradient has passed, and at once where no input leads to it', () => {
    tf.tidy(() => {
      const counts: number[] = [];
      const counted = (input: tf.Tensor1D): tf.Tensor1D =>
        withGradient([input], (a: tf.Tensor1D) => ({
          value: tf.mul<tf.Tensor1D>(a, 2),
          saved: [tf.square(a)],
          backward: (upstream: tf.Tensor1D) => {
            counts.push(tf.memory().numTensors);
            return [tf.mul(upstream, 2)];
          },
        }));
      const x = tf.tensor1d([1, 2]);
      const frozen = tf.tensor1d([3, 4]);
      let before = 0;
      let beside = 0;
      valueAndGradients(
        (a: tf.Tensor1D) => {
          before = tf.memory().numTensors;
          for (let layer = 0; layer < 4; layer++) tf.tidy(() => void counted(frozen));
          beside = tf.memory().numTensors;
          return tf.sum(tf.tidy(() => counted(counted(counted(counted(a))))));
        },
        [x] as const,
      );
      assert.equal(beside, before);
      for (let index = 1; index < counts.length; index++) assert.equal(counts[index], counts[index - 1]! - 1);
    });
  });

  it('[VAG-3] says which input the value does not depend on, and frees all when the computation fails', () => {
    const [x, y] = [tf.tensor1d([1, 2]), tf.tensor1d([3])];
    const { numTensors } = tf.memory();
    assert.throws(
      () => valueAndGradients((...[a]: [tf.Tensor1D, tf.Tensor1D]) => tf.sum(tf.square(a)), [x, y] as const),
      /does not depend on input 1/,
    );
    const failing = (a: tf.Tensor1D): tf.Scalar => {
      tf.sum(tf.square(a));
      throw new Error('stop');
    };
    assert.throws(() => valueAndGradients(failing, [x] as const), /stop/);
    assert.equal(tf.memory().numTensors, numTensors);
    assert.deepEqual(
      [
        ...tf
          .grad((a) => tf.sum(tf.square(a)))(x)
          .dataSync(),
      ],
      [2, 4],
    );
    for (const one of [x, y]) one.dispose();
  });
});
