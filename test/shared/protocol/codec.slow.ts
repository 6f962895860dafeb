import { strict as assert } from 'node:assert';
import process from 'node:process';
import { decodeMutants } from './mutated-frames.ts';

/** Bytes by which the heap may have grown after a million frames: none of them is kept. */
const heapGrowthMax = 128 * 2 ** 20;

describe('message frames, a million mutants', () => {
  it('[COD-9] msgpack-fuzz: none throws, none changes Object.prototype, nothing stays in memory (seed 4)', () => {
    const held = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
    const before = held();
    const decodedCount = decodeMutants(1_000_000, 4);
    const grown = held() - before;
    assert.ok(grown < heapGrowthMax, `memory grew by ${grown} bytes`);
    assert.ok(decodedCount > 30_000, `${decodedCount} mutants were decoded`);
  }).timeout(600_000);
});
