/** Losses and their gradients against float64 references, on both back ends. */
import { strict as assert } from 'node:assert';
import { memory, type Scalar, type Tensor2D, tensor2d, valueAndGrad } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { crossEntropy } from '../../../shared/compute/cross-entropy.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { binaryCrossEntropy } from '../../../shared/training/loss.ts';
import { frozenVocabularyLoss } from '../../../shared/training/vocabulary-scores.ts';

const random = seededRandom(7, 'loss');
const [rowCount, labelCount] = [5, 4];
const logits = Array.from({ length: rowCount * labelCount }, () => 3 * random.normal());
const labels = Array.from({ length: rowCount }, () => random.integer(labelCount));
const several = [[0, 2], [], [1], [0, 1, 2, 3], [3]];
const weights = [0.5, 2, 1, 3];

interface Expected {
  readonly loss: number;
  readonly gradient: readonly number[];
}

/** Mean over rows of weight times softmax cross-entropy. */
function softmaxReference(weightOf: (label: number) => number): Expected {
  let loss = 0;
  const gradient: number[] = [];
  for (let row = 0; row < rowCount; row++) {
    const scores = logits.slice(row * labelCount, (row + 1) * labelCount);
    const weight = weightOf(labels[row]!) / rowCount;
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    loss += weight * (Math.log(total) - scores[labels[row]!]!);
    gradient.push(
      ...scores.map((score, label) => weight * (Math.exp(score) / total - (label === labels[row] ? 1 : 0))),
    );
  }
  return { loss, gradient };
}

/** Mean over rows and labels of binary cross-entropy. */
function binaryReference(weightOf: (label: number) => number): Expected {
  let loss = 0;
  const count = rowCount * labelCount;
  const gradient = logits.map((x, index) => {
    const label = index % labelCount;
    const isTrue = several[Math.floor(index / labelCount)]!.includes(label);
    const probability = 1 / (1 + Math.exp(-x));
    loss -= (isTrue ? weightOf(label) * Math.log(probability) : Math.log(1 - probability)) / count;
    return (isTrue ? weightOf(label) * (probability - 1) : probability) / count;
  });
  return { loss, gradient };
}

const cases: readonly (readonly [string, (scores: Tensor2D) => Scalar, Expected])[] = [
  ['cross-entropy', (scores) => crossEntropy(scores, labels), softmaxReference(() => 1)],
  [
    'weighted cross-entropy',
    (scores) => crossEntropy(scores, labels, weights),
    softmaxReference((label) => weights[label]!),
  ],
  ['binary cross-entropy', (scores) => binaryCrossEntropy(scores, several), binaryReference(() => 1)],
  [
    'weighted binary cross-entropy',
    (scores) => binaryCrossEntropy(scores, several, weights),
    binaryReference((label) => weights[label]!),
  ],
  [
    'cross-entropy over a vocabulary, rows at a time',
    // 2^22 scores at once and a vocabulary of 2^21: two rows of the five.
    (scores) => frozenVocabularyLoss(scores, labels, { scoresOf: (rows) => rows, vocabularySize: 2 ** 21 }),
    softmaxReference(() => 1),
  ],
];

for (const backend of ['cpu', 'wasm'] as const) {
  describe(`losses on ${backend}`, () => {
    before(async () => {
      await useBackend(backend);
    });
    after(async () => {
      await useBackend('cpu');
    });

    for (const [name, lossOf, expected] of cases) {
      it(`[LOS-1] ${name} and its gradient are those of the definition`, async () => {
        const input = tensor2d(logits, [rowCount, labelCount]);
        const before = memory().numTensors;
        const { value, grad } = valueAndGrad((scores) => lossOf(scores as Tensor2D).mul(3))(input);
        assert.ok(Math.abs((await value.data())[0]! - 3 * expected.loss) < 1e-5, name);
        for (const [index, found] of (await grad.data()).entries())
          assert.ok(Math.abs(found - 3 * expected.gradient[index]!) < 1e-6, `${name}: ${index}`);
        value.dispose();
        grad.dispose();
        assert.equal(memory().numTensors, before);
        input.dispose();
      });
    }

    it('[LOS-2] does not overflow on extreme scores', async () => {
      const input = tensor2d([1000, -1000, 0, 1000], [2, 2]);
      assert.equal((await crossEntropy(input, [0, 0]).data())[0], 500);
      const binary = (await binaryCrossEntropy(input, [[0], [0]]).data())[0]!;
      assert.ok(Math.abs(binary - (Math.log(2) + 1000) / 4) < 1e-3, `${binary}`);
    });
  });
}
