import { fuzzDecoders, fuzzRecordFiles } from './fuzz.ts';

describe('decoders, a million inputs', () => {
  it('[FUZZ-3] typed errors alone, no prototype changed, bounded heap', async () => {
    await fuzzDecoders(2, 1_000_000);
  }).timeout(1_800_000);

  it('[FUZZ-4] mutated files of records: typed errors alone', async () => {
    await fuzzRecordFiles(2, 3_000);
  }).timeout(1_800_000);
});
