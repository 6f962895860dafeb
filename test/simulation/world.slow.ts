import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import process from 'node:process';
import { promisify } from 'node:util';
import { addCoverage, createCoverage, type encodeCoverage, missingFrom } from '../../simulations/world/coverage.ts';

const run = promisify(execFile);
const main = new URL('../../simulations/world/main.ts', import.meta.url).pathname;

/** Ten thousand worlds, in as many processes as machines usually have cores. */
const [worldCount, processCount] = [10_000, 4];

describe('ten thousand worlds', () => {
  it('[WORLD-3] every rule holds, and all pairs, faults and ways to end were seen', async () => {
    const count = worldCount / processCount;
    const coverage = createCoverage();
    const outputs = await Promise.all(
      Array.from({ length: processCount }, async (_, index) => {
        const options = ['--seed', `${1_000 + index * count}`, '--count', `${count}`];
        const { stdout } = await run(process.execPath, [main, ...options], { maxBuffer: 2 ** 24 });
        return JSON.parse(stdout) as ReturnType<typeof encodeCoverage>;
      }),
    );
    for (const output of outputs) addCoverage(coverage, output);
    assert.equal(coverage.worlds, worldCount);
    const least = { opened: 1_000, aborted: 1_000, groupsOpened: 1_000, groupsLeftOut: 200 };
    assert.deepEqual(missingFrom(coverage, least), []);
  }).timeout(1_800_000);
});
