import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/epoch.ts';

describe('benchmark epoch', () => {
  it('[BEP-1] keeps states without changing a loss, and says where it was not compared with PyTorch', async function () {
    this.timeout(60_000);
    const lines: string[] = [];
    const flags = {
      backend: 'cpu',
      layers: '3',
      width: '16',
      heads: '2',
      'feed-forward': '32',
      sequence: '8',
      batch: '4',
      rank: '2',
      texts: '8',
      turns: '1',
      python: '/nowhere/python',
    };
    const { name, results } = await bench(flags, (line) => lines.push(line));
    assert.equal(name, 'epoch');
    const { cachedMs, uncachedMs, allTokensMs, cachedToUncached, cachedLossDifference, lowestLayer, ratio, pytorch } =
      results;
    for (const figure of [cachedMs, uncachedMs, allTokensMs, cachedToUncached])
      assert.ok(typeof figure === 'number' && figure > 0);
    assert.deepEqual([cachedLossDifference, lowestLayer, ratio], [0, 2, null]);
    assert.equal(pytorch, 'NOT RUN: /nowhere/python: not there');
    assert.equal(lines.length, 3);
  });
});
