import { strict as assert } from 'node:assert';
import { getBackend } from '@tensorflow/tfjs-core';
import { backendNames, useBackend } from '../../../shared/compute/backend.ts';
import { FederationError } from '../../../shared/core/errors.ts';

describe('useBackend', () => {
  it('[BAC-1] makes the named back end current', async () => {
    for (const name of ['cpu', 'wasm', 'cpu'] as const) {
      const { threads, device, rejected, ...found } = await useBackend(name);
      assert.deepEqual([found.name, threads, device, rejected], [name, 1, null, []]);
      assert.equal(getBackend(), name);
    }
  });

  it('[BAC-2] says that WebAssembly has one thread in Node, whatever was asked for', async () => {
    assert.equal((await useBackend('wasm', { threads: 8 })).threads, 1);
  });

  it('[BAC-3] auto takes the first that works and says why each faster one does not', async () => {
    const { name, rejected } = await useBackend('auto');
    const [order, place]: [readonly string[], number] = [
      backendNames,
      (backendNames as readonly string[]).indexOf(name),
    ];
    assert.deepEqual(
      rejected.map((miss) => miss.name),
      order.slice(0, place),
    );
    for (const { reason } of rejected) assert.ok(reason.length > 0 && !reason.includes('\n'), reason);
    // Without native packages, which nobody needs, it is WebAssembly.
    assert.ok(place >= 0 && place <= order.indexOf('wasm'), name);
  });

  it('[BAC-4] a named back end that does not work fails with the reason and what to do', async () => {
    for (const name of ['node-gpu', 'node'] as const) {
      const outcome = await useBackend(name).catch((thrown: unknown) => thrown);
      // A machine with the native packages passes here too.
      if (!(outcome instanceof Error)) continue;
      assert.ok(outcome instanceof FederationError && outcome.code === 'backend-unavailable');
      assert.match(
        outcome.message,
        new RegExp(
          `^the back end ${name} does not work here: .*; choose another with --backend, or auto \\(tributary doctor shows what works and how to install the rest\\)$`,
        ),
      );
    }
  });
});
