import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemoryStore } from '../../../coordinator/store/store-memory.ts';
import { openSqliteStore } from '../../../coordinator/store/store-sqlite.ts';
import { logContract } from '../../contracts/log-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));

logContract('memory', { open: createMemoryStore, durable: false });
logContract('SQLite', { open: (place) => openSqliteStore(join(folder, `${place}`, 'state.sqlite')), durable: true });
