import { strict as assert } from 'node:assert';
import { decodeMutants } from './mutated-frames.ts';

describe('message frames, a million mutants', () => {
  it('[COD-9] msgpack-fuzz: none throws, none changes Object.prototype, nothing stays in memory (seed 4)', () => {
    const decodedCount = decodeMutants(1_000_000, 4);
    assert.ok(decodedCount > 30_000, `${decodedCount} mutants were decoded`);
  }).timeout(600_000);
});
