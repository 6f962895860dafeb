import { strict as assert } from 'node:assert';
import { createStageQueue } from '../../../client/masking/stage-queue.ts';
import type { Digest } from '../../../shared/core/ids.ts';

const never = new AbortController().signal;
const quorum = (digits: string) =>
  ({ type: 'quorum', quorum: { survivorsHash: digits.repeat(32) as Digest, signatures: [] } }) as const;

describe('stage queue', () => {
  it('[MSK-70] keeps the first stage of a kind and nothing of its repetitions, so that a coordinator fills no memory', async () => {
    const queue = createStageQueue();
    for (const digits of ['aa', 'bb', 'cc']) queue.push(quorum(digits));
    assert.equal((await queue.next(['quorum'], never)).quorum.survivorsHash, 'aa'.repeat(32));
    const waiting = queue.next(['quorum'], never);
    queue.push({ type: 'open' });
    queue.push(quorum('dd'));
    assert.equal((await waiting).quorum.survivorsHash, 'dd'.repeat(32), 'what was told before is gone');
  });
});
