import { strict as assert } from 'node:assert';
import { fuzzDecoders, fuzzRecordFiles } from './fuzz.ts';

describe('decoders, a million inputs', () => {
  it('[FUZZ-3] typed errors alone, no prototype changed, bounded memory', async () => {
    const count = await fuzzDecoders(2, { inputs: 12_500, folders: 1_000 });
    assert.ok(count >= 1_000_000, `${count} inputs`);
  }).timeout(1_800_000);

  it('[FUZZ-4] mutated files of records: typed errors alone', async () => {
    await fuzzRecordFiles(2, 3_000);
  }).timeout(1_800_000);
});
