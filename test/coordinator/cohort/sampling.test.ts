import { strict as assert } from 'node:assert';
import { samplingOrder } from '../../../coordinator/cohort/sampling.ts';
import type { ClientId } from '../../../shared/core/ids.ts';

const clients = Array.from({ length: 10 }, (_, index) => index.toString(16).padStart(64, '0') as ClientId);

describe('cohort sampling', () => {
  it('[SMP-1] does not depend on the order in which clients came', () => {
    assert.deepEqual(
      samplingOrder([...clients].reverse(), { seed: 1, roundIndex: 4 }),
      samplingOrder(clients, { seed: 1, roundIndex: 4 }),
    );
  });

  it('[SMP-2] asks everybody equally often in the long run', () => {
    const counts = new Map<ClientId, number>();
    for (let roundIndex = 0; roundIndex < 2000; roundIndex++) {
      for (const id of samplingOrder(clients, { seed: 3, roundIndex }).slice(0, 3))
        counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    // Expected 600 each, standard deviation 20.
    for (const id of clients) assert.ok(Math.abs((counts.get(id) ?? 0) - 600) < 100, `${id}: ${counts.get(id)}`);
  });
});
