import { strict as assert } from 'node:assert';
import { DatabaseSync } from 'node:sqlite';
import { createGroupCommit } from '../../../coordinator/store/group-commit.ts';

/** A database in memory whose flushes end when the test says so. */
function openSlowly() {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE numbers (value INTEGER PRIMARY KEY) STRICT');
  const flushes: PromiseWithResolvers<void>[] = [];
  const commits = createGroupCommit(database, () => {
    const flush = Promise.withResolvers<void>();
    flushes.push(flush);
    return flush.promise;
  });
  const add = (value: number): Promise<void> =>
    commits.apply(() => void database.prepare('INSERT INTO numbers VALUES (?)').run(value));
  return { commits, flushes, add };
}

/** Whether a promise has settled when everything else that waits has had its turn. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe('group commit', () => {
  it('[GRC-1] what is applied is durable only when a flush that began afterwards has ended', async () => {
    const { commits, flushes, add } = openSlowly();
    await add(1);
    const first = commits.durable();
    await add(2);
    const second = commits.durable();
    assert.equal(await isSettled(first), false);
    flushes[0]!.resolve();
    assert.equal(await isSettled(first), true);
    assert.equal(await isSettled(second), false);
    flushes[1]!.resolve();
    await second;
    assert.equal(flushes.length, 2);
  });

  it('[GRC-2] whoever waits at the same time shares a flush, and without writes there is none', async () => {
    const { commits, flushes, add } = openSlowly();
    await commits.durable();
    await Promise.all([add(1), add(2)]);
    const waiting = [commits.durable(), commits.durable(), commits.durable()];
    flushes[0]!.resolve();
    await Promise.all(waiting);
    await commits.durable();
    assert.equal(flushes.length, 1);
  });

  it('[GRC-3] after a flush that failed nothing is called durable any more', async () => {
    const { commits, flushes, add } = openSlowly();
    await add(1);
    const waiting = commits.durable();
    flushes[0]!.reject(new Error('no disk'));
    await assert.rejects(waiting, /no disk/);
    await add(2);
    await assert.rejects(commits.durable(), /no disk/);
    assert.equal(flushes.length, 1);
  });

  it('[GRC-4] a write that fails undoes its own changes only', async () => {
    const { add } = openSlowly();
    const outcomes = await Promise.allSettled([add(1), add(1), add(2)]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
  });
});
