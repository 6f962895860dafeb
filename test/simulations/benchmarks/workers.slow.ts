import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/workers.ts';

describe('benchmark workers', () => {
  it('[BWK-1] threads over one memory compute what threads with their own weights do', async () => {
    const lines: string[] = [];
    const flags = { workers: '2', layers: '2', width: '16', 'feed-forward': '32' };
    const { results, ...report } = await bench(flags, (line) => lines.push(line));
    assert.deepEqual([report.name, report.backend, report.threads], ['workers', 'native', 2]);
    assert.equal(results.computeTheSame, true);
    for (const name of ['sharedMegabytes', 'ownMegabytes']) assert.ok(Number(results[name]) > 0, name);
    assert.equal(lines.length, 2);
    await assert.rejects(
      bench({ backend: 'auto' }, () => {}),
      RangeError,
    );
  }).timeout(60_000);
});
