/**
 * Documents of identity in a coordinator's state, by name: the consortium, its newest list of revocations, its approval of the plan, certificates
 * and withdrawals of clients. All of them are signed by others, so that the coordinator is only their keeper. Memory and SQLite pass
 * `test/contracts/log-store.ts`.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { ClientId } from '../../shared/core/ids.ts';
import type { LogPorts } from '../audit/log-sqlite.ts';

/** Name of a document. */
export type DocumentName =
  | 'consortium'
  | 'revocations'
  | 'plan-approval'
  | `certificate/${ClientId}`
  | `withdrawal/${ClientId}`
  /** The certificate by which a client took the place of another (`rotated-keys.ts`). */
  | `rotation/${ClientId}`
  /** What the coordinator itself keeps of a client (`quarantine.ts`). */
  | `quarantine/${ClientId}`
  /** Seed of the central noise of a round, kept beside retained updates; empty where its round made no version (`audit/central-noise.ts`). */
  | `noise/${number}`;

/** Documents by name, as hex of their bytes. @throws StoreError. */
export interface DocumentStore {
  /** The document, or null. */
  get(name: DocumentName): Promise<string | null>;
  /** Replaces it; durable when it resolves. */
  put(name: DocumentName, hex: string): Promise<void>;
}

/** Documents in memory. */
export function createMemoryDocuments(): DocumentStore {
  const kept = new Map<DocumentName, string>();
  return {
    get: async (name) => kept.get(name) ?? null,
    put: async (name, hex) => void kept.set(name, hex),
  };
}

/** Documents in the coordinator's database. */
export function sqliteDocuments(database: DatabaseSync, { guard, together }: LogPorts): DocumentStore {
  database.exec('CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, hex TEXT NOT NULL) STRICT');
  const read = database.prepare('SELECT hex FROM documents WHERE name = ?');
  const write = database.prepare('INSERT OR REPLACE INTO documents VALUES (?, ?)');
  return {
    get: (name) =>
      guard(() => {
        const row = read.get(name);
        return row === undefined ? null : String(row.hex);
      }),
    put: (name, hex) => together(() => void write.run(name, hex)),
  };
}
