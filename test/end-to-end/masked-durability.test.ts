import { strict as assert } from 'node:assert';
import { closeWorlds } from '../coordinator/harness.ts';
import { checkKilled } from './masked-killing.ts';

describe('a killed coordinator of masked rounds', () => {
  afterEach(closeWorlds);

  it('[MDU-1] opens the sum whose survivors were fixed, and tries a round again under its number that was not so far', async function () {
    this.timeout(60_000);
    const { names } = await checkKilled(Number.POSITIVE_INFINITY, 'before');
    const messages = names.flatMap((name, index) => (name === 'addAttemptMessage' ? [index + 1] : []));
    const [first] = messages;
    const last = messages.at(-1);
    assert.ok(first !== undefined && last !== undefined && messages.length >= 5 * 3);
    for (const killAt of [first, last]) {
      const { isDead, roundIndex } = await checkKilled(killAt, 'after');
      assert.deepEqual([isDead, roundIndex], [true, 0], `killed after step ${killAt}`);
    }
  });
});
