import { strict as assert } from 'node:assert';
import { type Tensor2D, tensor2d, valueAndGrad } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { crossEntropy } from '../../../shared/training/loss.ts';

const random = seededRandom(2, 'loss');
const rowCount = 5;
const labelCount = 7;
const logits = Array.from({ length: rowCount }, () => Array.from({ length: labelCount }, () => 4 * random.normal()));
const labels = Array.from({ length: rowCount }, () => random.integer(labelCount));

/** Loss and gradient in float64. */
function reference(): { loss: number; gradient: number[] } {
  let loss = 0;
  const gradient: number[] = [];
  for (const [row, scores] of logits.entries()) {
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    loss += Math.log(total) - scores[labels[row]!]!;
    for (const [label, score] of scores.entries())
      gradient.push((Math.exp(score) / total - (label === labels[row] ? 1 : 0)) / rowCount);
  }
  return { loss: loss / rowCount, gradient };
}

describe('crossEntropy', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[LOS-1] has the value and the gradient of the formula on ${backend}, scaled by what follows`, async () => {
      await useBackend(backend);
      const input = tensor2d(logits);
      const { value, grad } = valueAndGrad((scores) => crossEntropy(scores as Tensor2D, labels).mul(3))(input);
      const expected = reference();
      assert.ok(Math.abs((await value.data())[0]! - 3 * expected.loss) < 1e-5);
      for (const [index, found] of (await grad.data()).entries())
        assert.ok(Math.abs(found - 3 * expected.gradient[index]!) < 1e-6, `gradient ${index}: ${found}`);
    });
  }

  it('[LOS-2] is finite for scores that would overflow', async () => {
    await useBackend('cpu');
    const [loss] = await crossEntropy(tensor2d([[1000, -1000]]), [1]).data();
    assert.equal(loss, 2000);
  });
});
