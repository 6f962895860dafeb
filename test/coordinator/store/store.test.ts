import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createMemoryStore } from '../../../coordinator/store/store-memory.ts';
import { openSqliteStore } from '../../../coordinator/store/store-sqlite.ts';
import { storeContract } from '../../contracts/store.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-store-'));
after(() => rmSync(folder, { recursive: true, force: true }));

storeContract('memory', { open: createMemoryStore, durable: false });
storeContract('SQLite', { open: (place) => openSqliteStore(join(folder, `${place}`, 'state.sqlite')), durable: true });

describe('SQLite store', () => {
  it('[SQL-1] refuses a database of a newer program', () => {
    const path = join(folder, 'newer.sqlite');
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 99');
    database.close();
    assert.throws(() => openSqliteStore(path), { code: 'store-too-new' });
  });

  it('[SQL-2] names a file that is no database', () => {
    assert.throws(() => openSqliteStore(folder), { code: 'store-failed' });
  });

  it('[SQL-3] two processes may have it open: what one commits the other sees', async () => {
    const path = join(folder, 'two.sqlite');
    const [one, other] = [openSqliteStore(path), openSqliteStore(path)];
    await one.addInvite({
      tokenHash: 'ab'.repeat(32) as never,
      organisation: 'o',
      approval: 'manual',
      expiresMs: 1,
      redeemedBy: null,
    });
    assert.equal((await other.invites()).length, 1);
    await one.close();
    await other.close();
  });

  it('[SQL-4] writes of the same moment are one transaction, and each is durable when it resolves', async () => {
    const path = join(folder, 'group.sqlite');
    const store = openSqliteStore(path);
    const other = new DatabaseSync(path, { readOnly: true });
    const seen = (): unknown => other.prepare('SELECT count(*) AS count FROM rounds').get()?.count;
    const writes = [0, 1, 2].map((index) => store.openRound(index, 'ab'.repeat(32) as never, 1));
    assert.equal(seen(), 0);
    await writes[0];
    assert.equal(seen(), 3);
    other.close();
    await store.close();
  });

  it('[SQL-5] what waits when the store is closed is written', async () => {
    const path = join(folder, 'closing.sqlite');
    const store = openSqliteStore(path);
    const write = store.openRound(0, 'ab'.repeat(32) as never, 1);
    await store.close();
    await write;
    const again = openSqliteStore(path);
    assert.equal((await again.rounds()).length, 1);
    await again.close();
  });

  it('[SQL-6] when nothing can be committed every write hears it', async () => {
    const path = join(folder, 'broken.sqlite');
    const store = openSqliteStore(path);
    const thief = new DatabaseSync(path);
    thief.exec('DROP TABLE rounds');
    const outcomes = await Promise.allSettled(
      [0, 1].map((index) => store.openRound(index, 'ab'.repeat(32) as never, 1)),
    );
    for (const outcome of outcomes) {
      assert.equal(outcome.status === 'rejected' && (outcome.reason as { code: string }).code, 'store-failed');
    }
    thief.close();
    await store.close();
  });

  it('[SQL-7] log-secrecy: what was overwritten or deleted is not in the file either', async () => {
    const path = join(folder, 'forgetting.sqlite');
    const store = openSqliteStore(path);
    const [seed, kept] = ['5e'.repeat(32), '6b'.repeat(32)];
    const message = (index: number): string => `share of ${index} `.repeat(400);
    await store.documents.put('noise/0', seed);
    await store.documents.put('noise/1', kept);
    await store.openRound(0, 'ab'.repeat(32) as never, 1);
    await store.openAttempt({ roundIndex: 0, roundParams: 'cd', asked: [], invited: [] });
    for (let index = 0; index < 20; index++) await store.addAttemptMessage(0, message(index));
    await store.documents.put('noise/0', '');
    await store.voidRound(0, 0, 'void');
    await store.close();
    const file = readFileSync(path, 'latin1');
    assert.ok(file.includes(kept));
    assert.ok(!file.includes(seed), 'the seed of a round that is void');
    assert.ok(!file.includes('share of '), 'messages of an attempt that is over');
  });
});
