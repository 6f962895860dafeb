import { strict as assert } from 'node:assert';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteStore } from '../../../coordinator/store/store-sqlite.ts';
import { seededRandom } from '../../../shared/core/random.ts';

const entryCount = 12;
const cutCount = 40;

describe('torn-write', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-torn-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('[TWR-1] torn-write: a database whose last writes reached the disk in part opens with what came before them, and goes on', async () => {
    mkdirSync(join(folder, 'whole'));
    const path = join(folder, 'whole', 'state.sqlite');
    const store = openSqliteStore(path);
    const happening = (subject: number) => ({ type: 'round-opened' as const, subject: String(subject), payload: {} });
    for (let subject = 0; subject < entryCount; subject++) await store.log.append([happening(subject)], subject);
    const whole = await store.log.rows(0);
    const journal = `${path}-wal`;
    assert.ok(existsSync(journal), 'what was written last stands in the journal');
    const size = statSync(journal).size;
    const random = seededRandom(53, 'torn-write');
    const seen = new Set<number>();
    for (let cut = 0; cut < cutCount; cut++) {
      const torn = join(folder, `torn-${cut}`);
      mkdirSync(torn);
      copyFileSync(path, join(torn, 'state.sqlite'));
      copyFileSync(journal, join(torn, 'state.sqlite-wal'));
      truncateSync(join(torn, 'state.sqlite-wal'), random.integer(size));
      const reopened = openSqliteStore(join(torn, 'state.sqlite'));
      const rows = await reopened.log.rows(0);
      assert.deepEqual(rows, whole.slice(0, rows.length), `cut ${cut}: a prefix, entry by entry`);
      seen.add(rows.length);
      await reopened.log.append([happening(entryCount)], entryCount);
      assert.equal((await reopened.log.rows(0)).length, rows.length + 1);
      await reopened.close();
    }
    assert.ok(seen.size > entryCount / 2, `cuts left ${[...seen].join(', ')} entries`);
    await store.close();
  });
});
