import { strict as assert } from 'node:assert';
import { closeWorlds } from '../coordinator/harness.ts';
import { checkKilled, checkPaid } from './masked-killing.ts';

describe('a killed coordinator of masked rounds', function () {
  this.timeout(60_000);
  /** Steps after which a message of the attempt is durable, of a coordinator that nobody kills. */
  let messages: readonly number[] = [];
  before(async () => {
    const { names } = await checkKilled(Number.POSITIVE_INFINITY, 'before');
    messages = names.flatMap((name, index) => (name === 'addAttemptMessage' ? [index + 1] : []));
    assert.ok(messages.length >= 5 * 3);
  });
  afterEach(closeWorlds);

  it('[MDU-1] opens the sum whose survivors were fixed, and tries a round again under its number that was not so far', async () => {
    for (const killAt of [messages[0]!, messages.at(-1)!]) {
      const { isDead, roundIndex } = await checkKilled(killAt, 'after');
      assert.deepEqual([isDead, roundIndex], [true, 0], `killed after step ${killAt}`);
    }
  });

  it('[MDU-3] budget-stop: a round that is tried again, or whose sum is opened after a kill, is charged once; one that ends in nothing is charged, too', async () => {
    const kills = [
      // Tried again under its number; opened from what is durable; an answer is lost, and with it the sum.
      [messages[0]!, 'after', true],
      [messages.at(-1)!, 'after', true],
      [messages.at(-1)!, 'before', false],
    ] as const;
    for (const [killAt, moment, isPublished] of kills)
      assert.equal(await checkPaid(killAt, moment), isPublished, `killed ${moment} step ${killAt}`);
  });
});
