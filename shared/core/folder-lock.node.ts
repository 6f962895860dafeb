/**
 * Keeps a second coordinator or client off a state folder: an exclusive transaction on a database of its own, which the operating system ends with the
 * process, however that ends. A file with a process id would outlive a killed process.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorMessage, StoreError, UsageError } from './errors.ts';

/**
 * Locks `folder`, which is made if it is not there, for a `holder`; returns what releases it.
 * @throws UsageError `state-in-use`; StoreError.
 */
export function lockFolder(folder: string, holder: 'coordinator' | 'client' | 'download'): () => void {
  const path = join(folder, 'lock.sqlite');
  let database: DatabaseSync | null = null;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(path);
    database.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE;');
  } catch (cause) {
    database?.close();
    const message = errorMessage(cause);
    if (/locked|busy/.test(message)) {
      const next = holder === 'download' ? 'wait for it' : 'stop it first, or give another --state';
      throw new UsageError('state-in-use', `another ${holder} runs on ${folder}; ${next}`, { cause });
    }
    throw new StoreError('store-failed', `cannot use ${folder}: ${message}; check the folder and its permissions`, {
      cause,
    });
  }
  const held = database;
  let isHeld = true;
  return () => {
    if (isHeld) held.close();
    isHeld = false;
  };
}
