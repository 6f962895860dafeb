import { strict as assert } from 'node:assert';
import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { createBufferPool } from '../../../../shared/compute/native/buffer-pool.ts';
import { requireNative } from './available.ts';
import { runSteps } from './steps.ts';

describe('the pool of the native back end', () => {
  it('[NAP-1] hands out again what was given back, and wastes an eighth at most', () => {
    const pool = createBufferPool(1 << 20);
    const first = pool.take(100_000);
    assert.ok(first.byteLength >= 100_000 && first.byteLength <= 112_500, `${first.byteLength} bytes`);
    assert.notEqual(pool.take(100_000), first);
    pool.give(first);
    assert.equal(pool.freeBytes(), first.byteLength);
    assert.equal(pool.take(99_000), first);
    assert.equal(pool.freeBytes(), 0);
  });

  it('[NAP-2] keeps no more than its bound, and forgets what it released', () => {
    const pool = createBufferPool(8192);
    const buffers = [pool.take(4096), pool.take(4096), pool.take(4096)];
    for (const buffer of buffers) pool.give(buffer);
    assert.equal(pool.freeBytes(), 8192);
    assert.deepEqual(
      buffers.map((buffer) => pool.owns(buffer)),
      [true, true, false],
    );
    const taken = pool.take(4096);
    pool.release(taken);
    assert.equal(pool.owns(taken), false);
    pool.clear();
    assert.equal(pool.freeBytes(), 0);
  });
});

describe('memory of the native back end', () => {
  it('[NAP-3] holds as many tensors, bytes and compiled graphs after 300 steps as after 20', async function () {
    requireNative(this);
    await useBackend('native');
    await runSteps(20);
    const before = { ...tf.memory(), ...stateOf() };
    let packedBytes = 0;
    await runSteps(300, () => {
      ({ packedBytes } = stateOf());
    });
    assert.ok(packedBytes > 0, 'the frozen matrix was packed');
    const after = { ...tf.memory(), ...stateOf() };
    for (const name of ['numTensors', 'numBytes', 'compiled', 'freeBytes', 'packedBytes'] as const) {
      assert.equal(after[name], before[name], name);
    }
    await useBackend('cpu');
  });
});

function stateOf(): { readonly compiled: number; readonly freeBytes: number; readonly packedBytes: number } {
  const { engine, pool, packed } = tf.engine().backend as unknown as {
    readonly engine: { compiledCount(): number };
    readonly pool: { freeBytes(): number };
    readonly packed: { bytes(): number };
  };
  return { compiled: engine.compiledCount(), freeBytes: pool.freeBytes(), packedBytes: packed.bytes() };
}
