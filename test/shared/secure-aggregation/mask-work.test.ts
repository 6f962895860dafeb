import { strict as assert } from 'node:assert';
import { createMaskThreads } from '../../../shared/secure-aggregation/mask-threads.node.ts';
import { maskHere } from '../../../shared/secure-aggregation/mask-work.ts';
import { maskWorkContract } from '../../contracts/mask-work.ts';

maskWorkContract('the thread that asks', () => maskHere);
maskWorkContract('two threads', () => createMaskThreads({ threadCount: 2 }));
maskWorkContract('three threads, small vectors too', () => createMaskThreads({ threadCount: 3, smallest: 1 }));

describe('mask threads', () => {
  it('[MKT-1] a fault reaches whoever asked, and keys are zeroed', async () => {
    const work = createMaskThreads({ threadCount: 2, smallest: 1 });
    const seed = { coordinates: new Uint8Array(32).fill(7), tail: new Uint8Array(31).fill(7) };
    const vector = { coordinates: new Uint32Array(10), tail: new Uint32Array(1) };
    await assert.rejects(work.apply(vector, [{ seed, sign: 1 }], 1), /32 bytes/);
    assert.ok([...seed.coordinates, ...seed.tail].every((byte) => byte === 0));
    await work.close();
  });
});
