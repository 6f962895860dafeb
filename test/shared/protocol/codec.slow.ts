import { strict as assert } from 'node:assert';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { decodeMutants } from './mutated-frames.ts';

/** Bytes by which what is held may have grown after a million frames: none of them is kept. */
const growthMax = 8 * 2 ** 20;

describe('message frames, a million mutants', () => {
  it('[COD-9] msgpack-fuzz: none throws, none changes Object.prototype, nothing stays in memory (seed 4)', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const held = () => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = held();
    const decodedCount = decodeMutants(1_000_000, 4);
    const grown = held() - before;
    assert.ok(grown < growthMax, `memory grew by ${grown} bytes`);
    assert.ok(decodedCount > 30_000, `${decodedCount} mutants were decoded`);
  }).timeout(600_000);
});
