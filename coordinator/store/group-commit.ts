/**
 * Several writes in one transaction, several transactions in one flush. What is asked for within one turn of the event loop is applied together; each
 * write succeeds or fails on its own. Flushing the log of the database is left to the thread pool, so that a disk that takes milliseconds stops
 * nobody meanwhile, and what is applied while a flush is under way shares the next one.
 */
import type { DatabaseSync } from 'node:sqlite';

/** Writes to one database. */
export interface GroupCommit {
  /** Runs `action` in the next transaction: its value, once it is applied. Rejects with what it throws, which undoes its changes only, or when the commit fails. */
  apply<Value>(action: () => Value): Promise<Value>;
  /** Resolves when everything that is applied so far is durable; at once when it is. Rejects when a flush failed, now or earlier. */
  durable(): Promise<void>;
  /** Applies what waits, at once. */
  applyNow(): void;
}

interface Write {
  readonly run: () => () => void;
  readonly reject: (cause: unknown) => void;
}

/** Groups the writes to `database`; nothing else may begin transactions on this connection. `flush` makes what was committed durable. */
export function createGroupCommit(database: DatabaseSync, flush: () => Promise<void>): GroupCommit {
  let waiting: Write[] = [];
  /** Transactions so far, and how many of them are durable. */
  let [applied, flushed] = [0, 0];
  let flushing: Promise<void> | null = null;

  /** Runs one write; what tells its caller once it is applied. */
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
  const applyNow = (): void => {
    const writes = waiting;
    waiting = [];
    if (writes.length === 0) return;
    try {
      database.exec('BEGIN IMMEDIATE');
      const settles = writes.map(runOne);
      database.exec('COMMIT');
      applied += 1;
      for (const settle of settles) settle();
    } catch (cause) {
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
      for (const { reject } of writes) reject(cause);
    }
  };
  const flushOnce = async (): Promise<void> => {
    const upTo = applied;
    await flush();
    flushed = upTo;
    flushing = null;
  };
  return {
    applyNow,
    durable: async () => {
      const upTo = applied;
      // A flush that failed stays: after it nobody knows what the disk holds.
      while (flushed < upTo) {
        flushing ??= flushOnce();
        await flushing;
      }
    },
    apply: (action) =>
      new Promise((resolve, reject) => {
        const run = (): (() => void) => {
          const value = action();
          return () => resolve(value);
        };
        waiting.push({ run, reject });
        if (waiting.length === 1) setImmediate(applyNow);
      }),
  };
}
