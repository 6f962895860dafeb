import { strict as assert } from 'node:assert';
import { missingFrom } from '../../simulations/world/coverage.ts';
import { runWorlds } from './world-processes.ts';

/** Ten thousand worlds, in as many processes as machines usually have cores. */
const [worldCount, processCount] = [10_000, 4];

describe('ten thousand worlds', () => {
  it('[WORLD-3] every rule holds, and all pairs, faults and ways to end were seen', async () => {
    const coverage = await runWorlds(1_000, worldCount, processCount);
    assert.equal(coverage.worlds, worldCount);
    const least = { opened: 1_000, aborted: 1_000, groupsOpened: 1_000, groupsLeftOut: 200 };
    assert.deepEqual(missingFrom(coverage, least), []);
  }).timeout(1_800_000);
});
