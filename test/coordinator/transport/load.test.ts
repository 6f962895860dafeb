import { strict as assert } from 'node:assert';
import { createConnectionLimit, createLoadGauge, createRequestLimit } from '../../../coordinator/transport/load.ts';

describe('load of a coordinator', () => {
  it('[LOD-1] memory-cap: a client whose call goes beyond the budget is paused until half of it is free', () => {
    const gauge = createLoadGauge(100);
    const said: string[] = [];
    const source = (name: string) => ({
      pause: () => said.push(`${name} waits`),
      resume: () => said.push(`${name} goes`),
    });
    const [first, second] = [source('first'), source('second')];
    const done = [gauge.take(60, first), gauge.take(30, second)];
    assert.deepEqual(said, []);
    done.push(gauge.take(30, second), gauge.take(10, second));
    assert.deepEqual(said, ['second waits']);
    done[0]!();
    assert.deepEqual(said, ['second waits']);
    done[1]!();
    done[1]!();
    assert.deepEqual(said, ['second waits', 'second goes']);
    done[2]!();
    done[3]!();
    assert.equal(gauge.held(), 0);
  });

  it('[LOD-2] one address has a number of connections, another its own; this machine is not counted', () => {
    const limit = createConnectionLimit(2);
    assert.deepEqual(['1.2.3.4', '1.2.3.4', '1.2.3.4', '1.2.3.5'].map(limit.admit), [true, true, false, true]);
    limit.release('1.2.3.4');
    assert.ok(limit.admit('1.2.3.4'));
    assert.ok(Array.from({ length: 50 }, () => '::ffff:127.0.0.1').every(limit.admit));
  });

  it('[LOD-3] rate-limit: one address and all together may ask so often a second', () => {
    const mayAsk = createRequestLimit({ perAddress: { perSecond: 1, burst: 2 }, overall: { perSecond: 1, burst: 4 } });
    const asked = (address: string, nowMs: number, count: number) =>
      Array.from({ length: count }, () => mayAsk(address, nowMs)).filter(Boolean).length;
    assert.equal(asked('a', 1000, 5), 2);
    assert.equal(asked('b', 1000, 5), 2);
    assert.equal(asked('127.0.0.1', 1000, 5), 0);
    assert.equal(asked('a', 2000, 5), 1);
  });
});
