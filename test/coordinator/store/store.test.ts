import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
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
});
