import { strict as assert } from 'node:assert';
import { createLink } from '../../../client/transport/link.ts';
import { inParallel } from '../../../client/transport/pool.ts';
import type { Answer, Transport } from '../../../client/transport/transport.ts';
import { TransportError } from '../../../shared/core/errors.ts';

const answer: Answer = { body: new Uint8Array([1]), attachment: null };
const never = new AbortController().signal;

/** A transport whose calls answer, or fail, as the list says. */
function scripted(
  script: ('answer' | 'lost' | 'gone')[],
  onCall: (count: number) => void = () => undefined,
): Transport {
  let count = 0;
  return {
    connect: () => Promise.resolve(),
    call: () => {
      const outcome = script[count++];
      onCall(count);
      if (outcome === 'answer') return Promise.resolve(answer);
      return Promise.reject(new TransportError(outcome === 'gone' ? 'not-connected' : 'no-answer', 'lost'));
    },
    clockOffsetMs: () => 0,
    measureClock: async () => undefined,
    close: () => undefined,
  };
}
const call = { event: 'commit', body: new Uint8Array() };

describe('calls over a link', () => {
  it('[CLI-18] wait for the connection', async () => {
    const link = createLink(scripted(['answer']));
    let isDone = false;
    const answered = link.call(call, never).then((value) => {
      isDone = true;
      return value;
    });
    await Promise.resolve();
    assert.equal(isDone, false);
    link.up();
    assert.equal(await answered, answer);
  });

  it('[CLI-19] are sent again after the connection was lost', async () => {
    const reconnect = (count: number): void => {
      if (count !== 1) return;
      link.down();
      link.up();
    };
    const link = createLink(scripted(['lost', 'answer'], reconnect));
    link.up();
    assert.equal(await link.call(call, never), answer);
  });

  it('[CLI-20] give up on a coordinator that stays silent on a standing connection', async () => {
    let calls = 0;
    const link = createLink(
      scripted([], (count) => {
        calls = count;
      }),
    );
    link.up();
    await assert.rejects(link.call(call, never), TransportError);
    assert.equal(calls, 5);
  });

  it('[CLI-95] wait for the next connection where this one is gone before anybody was told', async () => {
    let calls = 0;
    const link = createLink(
      scripted(['lost', 'gone', 'answer'], (count) => {
        calls = count;
      }),
    );
    link.up();
    const answered = link.call(call, never);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(calls, 2);
    // What was known already is said, and the next connection stands.
    link.down();
    link.up();
    assert.equal(await answered, answer);
  });

  it('[CLI-21] end with the reason of the abort, connected or not', async () => {
    const controller = new AbortController();
    const link = createLink(scripted([]));
    const waiting = link.call(call, controller.signal);
    controller.abort(new TransportError('abandoned', 'the round is closed'));
    await assert.rejects(waiting, /the round is closed/);
  });
});

describe('inParallel', () => {
  it('[CLI-22] keeps at most its width under way and stops after a failure', async () => {
    let underWay = 0;
    let most = 0;
    const done: number[] = [];
    const work = async (item: number): Promise<void> => {
      most = Math.max(most, ++underWay);
      await Promise.resolve();
      underWay--;
      if (item === 6) throw new Error('six');
      done.push(item);
    };
    await inParallel([0, 1, 2, 3, 4], 3, work);
    assert.deepEqual([most, done], [3, [0, 1, 2, 3, 4]]);
    await assert.rejects(inParallel([5, 6, 7, 8, 9, 10, 11], 2, work), /six/);
    assert(!done.includes(11));
  });
});
