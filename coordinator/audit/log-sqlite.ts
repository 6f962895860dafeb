/**
 * The log in the coordinator's database, on the connection and in the transactions of its store: what happens in the same moment is flushed
 * together. Other processes, such as `tributary invite`, append to the same log; a place is taken within a transaction.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import type { LogRow, LogStore, Transcript } from './log-store.ts';
import { keyOf, nextRow, updatesIn } from './log-store.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS checkpoints (id INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS transcripts (round_index INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
`;

/** How the store reads and writes. */
export interface LogPorts {
  /** Reads now; faults become StoreErrors. */
  guard<Value>(action: () => Value): Promise<Value>;
  /** Writes in the next transaction. */
  together<Value>(action: () => Value): Promise<Value>;
}

/** The log in `database`; makes its tables where they are not there yet. */
export function sqliteLog(database: DatabaseSync, { guard, together }: LogPorts): LogStore {
  database.exec(schema);
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  const prepare = (sql: string) => {
    const known = statements.get(sql) ?? database.prepare(sql);
    statements.set(sql, known);
    return known;
  };
  const all = <Row>(sql: string, ...values: SQLInputValue[]): Row[] =>
    prepare(sql)
      .all(...values)
      .map((row) => JSON.parse(String(row.record)) as Row);
  const findSql = 'SELECT record FROM log WHERE key = ?';
  return {
    append: (happenings, timeMs) =>
      together(() => {
        let last = all<LogRow>('SELECT record FROM log ORDER BY sequence DESC LIMIT 1')[0] ?? null;
        for (const happening of happenings) {
          const key = keyOf(happening);
          if (all(findSql, key).length > 0) continue;
          last = nextRow(last, happening, timeMs);
          prepare('INSERT INTO log VALUES (?, ?, ?)').run(last.sequence, key, JSON.stringify(last));
        }
      }),
    rows: (from) => guard(() => all<LogRow>('SELECT record FROM log WHERE sequence >= ? ORDER BY sequence', from)),
    find: (type, subject) => guard(() => all<LogRow>(findSql, keyOf({ type, subject }))[0] ?? null),
    addCheckpoint: (checkpoint) =>
      together(() => void prepare('INSERT INTO checkpoints (record) VALUES (?)').run(JSON.stringify(checkpoint))),
    checkpoints: () => guard(() => all('SELECT record FROM checkpoints ORDER BY id')),
    keepTranscript: (transcript) =>
      together(
        () =>
          void prepare('INSERT OR REPLACE INTO transcripts VALUES (?, ?)').run(
            transcript.roundIndex,
            JSON.stringify(transcript),
          ),
      ),
    transcript: (roundIndex) =>
      guard(() => all<Transcript>('SELECT record FROM transcripts WHERE round_index = ?', roundIndex)[0] ?? null),
    retained: () => guard(() => all<Transcript>('SELECT record FROM transcripts').flatMap(updatesIn)),
  };
}
