import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { findDecoders, findFuzzed, unfuzzed } from './decoders.ts';
import { fuzzDecoders, fuzzRecordFiles } from './fuzz.ts';

describe('decoders', () => {
  it('[FUZZ-1] three hundred mutated inputs each, files forty: typed errors alone, no prototype changed, bounded memory', async () => {
    await fuzzDecoders(1, { inputs: 300, folders: 40 });
  }).timeout(60_000);

  it('[FUZZ-2] mutated files of records: typed errors alone', async () => {
    await fuzzRecordFiles(1, 60);
  }).timeout(60_000);

  it('[FUZZ-5] a decoder that does not end ends the run, and its input is named', () => {
    const module = JSON.stringify(new URL('./watchdog.ts', import.meta.url).href);
    const script = `const { startWatchdog } = await import(${module});
      const { watch } = await startWatchdog(100);
      await watch('endless, seed 1, run 7', async () => { for (;;); });`;
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 15_000,
    });
    assert.deepEqual([status, signal], [null, 'SIGKILL']);
    assert.match(stderr, /endless, seed 1, run 7: took longer than 100 ms/);
  });

  it('[FUZZ-6] every exported function that decodes is tried, or named with the reason why it is not', () => {
    const decoders = findDecoders();
    const fuzzed = findFuzzed();
    assert.ok(decoders.length > 100, 'the pattern finds the decoders');
    const untried = decoders.filter((place) => !fuzzed.has(place) && !(place in unfuzzed));
    assert.deepEqual(untried, []);
    const stale = Object.keys(unfuzzed).filter((place) => !decoders.includes(place) || fuzzed.has(place));
    assert.deepEqual(stale, []);
  });
});
