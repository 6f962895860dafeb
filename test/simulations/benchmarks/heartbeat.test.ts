import { strict as assert } from 'node:assert';
import { bench } from '../../../simulations/benchmarks/heartbeat.ts';

const small = { layers: '2', width: '16', heads: '2', 'feed-forward': '32', sequence: '8', batch: '4', rank: '2' };

describe('benchmark heartbeat', () => {
  it('[BHB-1] reports the delays of the socket thread with the learner in a thread, on the same one, and without training', async () => {
    const lines: string[] = [];
    const { results, ...report } = await bench({ ...small, backend: 'wasm', steps: '3' }, (line) => lines.push(line));
    assert.deepEqual([report.name, report.backend, report.threads], ['heartbeat', 'wasm', 1]);
    for (const name of ['idleWorstMs', 'threadWorstMs', 'sameThreadWorstMs', 'threadStepMs', 'sameThreadStepMs']) {
      const figure = results[name];
      assert.ok(typeof figure === 'number' && Number.isFinite(figure) && figure >= 0, `${name}: ${figure}`);
    }
    assert.equal(lines.length, 3);
  }).timeout(30_000);
});
