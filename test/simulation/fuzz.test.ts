import { fuzzDecoders, fuzzRecordFiles } from './fuzz.ts';

describe('decoders', () => {
  it('[FUZZ-1] three hundred mutated inputs each, files forty: typed errors alone, no prototype changed, bounded memory', async () => {
    await fuzzDecoders(1, { inputs: 300, folders: 40 });
  }).timeout(60_000);

  it('[FUZZ-2] mutated files of records: typed errors alone', async () => {
    await fuzzRecordFiles(1, 60);
  }).timeout(60_000);
});
