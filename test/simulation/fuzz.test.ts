import { fuzzDecoders, fuzzRecordFiles } from './fuzz.ts';

describe('decoders', () => {
  it('[FUZZ-1] twenty thousand mutated inputs: typed errors alone, no prototype changed, bounded heap', async () => {
    await fuzzDecoders(1, 20_000);
  }).timeout(60_000);

  it('[FUZZ-2] mutated files of records: typed errors alone', async () => {
    await fuzzRecordFiles(1, 60);
  }).timeout(60_000);
});
