import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/clients.ts';

const small = { layers: '2', width: '16', heads: '2', 'feed-forward': '32', sequence: '8', rank: '2', turns: '1' };

describe('benchmark clients', () => {
  for (const adapter of ['lora', 'bottleneck'])
    it(`[BCL-1] times clients that learn the same together and one by one: ${adapter}`, async () => {
      const lines: string[] = [];
      const flags = { ...small, backend: 'wasm', adapter, clients: '3' };
      const { results, ...report } = await bench(flags, (line) => lines.push(line));
      assert.deepEqual([report.name, report.backend, results.adapter], ['clients', 'wasm', adapter]);
      const { togetherPerSecond, oneByOnePerSecond, ratio, largestChange, largestDifference } = results;
      for (const figure of [togetherPerSecond, oneByOnePerSecond, ratio, largestChange])
        assert.ok(typeof figure === 'number' && Number.isFinite(figure) && figure > 0, String(figure));
      assert.ok(Number(largestDifference) < 0.01 * Number(largestChange), String(largestDifference));
      assert.equal(lines.length, 1);
    });

  it('[BCL-2] refuses adapters that it does not know', async () => {
    await assert.rejects(
      bench({ adapter: 'prefix' }, () => {}),
      RangeError,
    );
  });
});
