import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/step.ts';

const small = {
  layers: '2',
  width: '16',
  heads: '2',
  'feed-forward': '32',
  sequence: '8',
  batch: '4',
  rank: '2',
};

describe('benchmark step beside PyTorch', () => {
  it('[BST-4] compares with PyTorch, which computes the same losses', async function () {
    const flags = { ...small, backend: 'cpu', against: 'pytorch', turns: '1' };
    const { results } = await bench(flags, () => {});
    // Where Python has no PyTorch: skipped, which the totals count.
    if (results.ratio === null) this.skip();
    const { ratio, clientRatio, memoryRatio, lossDifference } = results;
    for (const figure of [ratio, clientRatio, memoryRatio])
      assert.ok(typeof figure === 'number' && figure > 0, String(figure));
    assert.ok(typeof lossDifference === 'number' && lossDifference < 1e-5, String(lossDifference));
  });
});
