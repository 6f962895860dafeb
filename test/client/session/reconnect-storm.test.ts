import { strict as assert } from 'node:assert';
import { backoffMs } from '../../../client/session/backoff.ts';
import { createRequestLimit } from '../../../coordinator/transport/load.ts';
import { seededRandom } from '../../../shared/core/random.ts';

describe('a coordinator that everybody lost at once', () => {
  it('[handshake-relay] a reconnect storm: a thousand clients come back spread out, and all are in within seconds', () => {
    const clientCount = 1_000;
    // The coordinator's own limits for challenges (SECURITY.md): ten a second of one address, 500 of all.
    const admits = createRequestLimit({
      perAddress: { perSecond: 10, burst: 20 },
      overall: { perSecond: 500, burst: 500 },
    });
    const random = seededRandom(1, 'storm');
    let waiting = Array.from({ length: clientCount }, (_, index) => ({
      address: `192.0.2.${index % 250}`,
      attempt: 1,
      dueMs: backoffMs(1, random.uniform()),
    }));
    const perTenth = new Map<number, number>();
    let [calls, lastMs] = [0, 0];
    while (waiting.length > 0) {
      waiting.sort((left, right) => left.dueMs - right.dueMs);
      const [next, ...others] = waiting as [(typeof waiting)[number], ...typeof waiting];
      const { address, attempt, dueMs } = next;
      calls++;
      lastMs = dueMs;
      perTenth.set(Math.floor(dueMs / 100), (perTenth.get(Math.floor(dueMs / 100)) ?? 0) + 1);
      waiting = others;
      if (!admits(address, dueMs))
        waiting.push({ address, attempt: attempt + 1, dueMs: dueMs + backoffMs(attempt + 1, random.uniform()) });
    }
    assert.ok(lastMs < 30_000, `the last client was back after ${lastMs} ms`);
    assert.ok(calls < 4 * clientCount, `${calls} calls`);
    // Without jitter all thousand would come within one tenth.
    assert.ok(Math.max(...perTenth.values()) < clientCount / 3, `${Math.max(...perTenth.values())} in a tenth`);
  });
});
