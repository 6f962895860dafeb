/**
 * Several writes in one transaction: what is asked for within one turn of the event loop is committed, and flushed to the disk, together. Each
 * write succeeds or fails on its own; each promise resolves when its write is durable. A cohort that answers at the same time costs one
 * flush then, not one for every client.
 */
import type { DatabaseSync } from 'node:sqlite';

/** Writes to one database. */
export interface GroupCommit {
  /** Runs `action` in the next transaction. Rejects with what it throws, which undoes its changes only, or when the commit fails. */
  write<Value>(action: () => Value): Promise<Value>;
  /** Commits what waits, at once. */
  flush(): void;
}

interface Write {
  readonly run: () => () => void;
  readonly reject: (cause: unknown) => void;
}

/** Groups the writes to `database`; nothing else may begin transactions on this connection. */
export function createGroupCommit(database: DatabaseSync): GroupCommit {
  let waiting: Write[] = [];

  /** Runs one write; what tells its caller once it is durable. */
  const runOne = ({ run, reject }: Write): (() => void) => {
    database.exec('SAVEPOINT one');
    try {
      const settle = run();
      database.exec('RELEASE one');
      return settle;
    } catch (thrown) {
      // After some faults, such as a full disk, there is no transaction left to undo a part of.
      if (!database.isTransaction) throw thrown;
      database.exec('ROLLBACK TO one; RELEASE one');
      return () => reject(thrown);
    }
  };
  const flush = (): void => {
    const writes = waiting;
    waiting = [];
    if (writes.length === 0) return;
    try {
      database.exec('BEGIN IMMEDIATE');
      const settles = writes.map(runOne);
      database.exec('COMMIT');
      for (const settle of settles) settle();
    } catch (cause) {
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
      for (const { reject } of writes) reject(cause);
    }
  };
  return {
    flush,
    write: (action) =>
      new Promise((resolve, reject) => {
        const run = (): (() => void) => {
          const value = action();
          return () => resolve(value);
        };
        waiting.push({ run, reject });
        if (waiting.length === 1) setImmediate(flush);
      }),
  };
}
