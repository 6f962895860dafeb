/**
 * The store in one SQLite file (`node:sqlite`): write-ahead log, and a busy timeout because `tributary invite` writes while the coordinator runs.
 * Writes of the same moment share one immediate transaction (`group-commit.ts`). As with `synchronous=FULL` the write-ahead log is flushed
 * before a write resolves, so that it survives a power failure; but the thread pool does it, and not the thread that serves the clients.
 * What is overwritten or deleted is zeroed in the file: a seed that was forgotten is gone.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { closeSync, fdatasync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { errorMessage, StoreError } from '../../shared/core/errors.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import { sqliteLog } from '../audit/log-sqlite.ts';
import { sqliteDocuments } from '../enrolment/document-store.ts';
import { createGroupCommit } from './group-commit.ts';
import type {
  AttemptRecord,
  ClientRecord,
  CoordinatorStore,
  FederationRecord,
  InviteRecord,
  RoundRecord,
  UpdateRecord,
  VersionRow,
} from './store.ts';

/** Version of the tables; a newer file than this is refused instead of being damaged. */
const schemaVersion = 2;

const schema = `
  CREATE TABLE IF NOT EXISTS federation (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS address (id INTEGER PRIMARY KEY CHECK (id = 1), url TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS clients (client_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL DEFAULT 0, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS invites (token_hash TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS rounds (round_index INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS updates (round_index INTEGER, client_id TEXT, record TEXT NOT NULL, PRIMARY KEY (round_index, client_id)) STRICT;
  CREATE TABLE IF NOT EXISTS attempts (round_index INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS attempt_messages (id INTEGER PRIMARY KEY, round_index INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS versions (version INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
`;

/** Opens or creates the database at `path`. @throws StoreError when it cannot be opened or is of a newer version. */
export function openSqliteStore(path: string): CoordinatorStore {
  const { database, log } = open(path);
  const flush = promisify(fdatasync);
  const commits = createGroupCommit(database, () => flush(log));
  /** Whether what runs waits for durability itself. */
  const waits = new AsyncLocalStorage<true>();
  const durable = async (): Promise<void> => (waits.getStore() === true ? undefined : commits.durable());
  const failed = (cause: unknown): StoreError =>
    cause instanceof StoreError
      ? cause
      : new StoreError('store-failed', `${path}: ${errorMessage(cause)}; check the disk and its permissions`, {
          cause,
        });
  const attempt = async <Value>(action: () => Value | Promise<Value>): Promise<Value> => {
    try {
      return await action();
    } catch (cause) {
      throw failed(cause);
    }
  };
  /** Reads what is durable: nobody is told what a power failure might take back. */
  const guard = <Value>(action: () => Value): Promise<Value> =>
    attempt(async () => {
      const value = action();
      await durable();
      return value;
    });
  const together = <Value>(action: () => Value): Promise<Value> =>
    attempt(async () => {
      const value = await commits.apply(action);
      await durable();
      return value;
    });
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = statements.get(sql) ?? database.prepare(sql);
    statements.set(sql, known);
    return known;
  };
  const all = <Row>(sql: string, ...values: SQLInputValue[]): Row[] =>
    prepare(sql)
      .all(...values)
      .map((row) => JSON.parse(String(row.record)) as Row);
  const one = <Row>(sql: string, ...values: SQLInputValue[]): Row | null => all<Row>(sql, ...values)[0] ?? null;
  const run = (sql: string, ...values: SQLInputValue[]): number => Number(prepare(sql).run(...values).changes);

  const clientSql = 'SELECT record FROM clients WHERE client_id = ?';
  const updatesSql = 'SELECT record FROM updates WHERE round_index = ? ORDER BY client_id';
  /** Forgets what was collected for a round: its updates, which are returned, and its attempt. */
  const takeUpdates = (roundIndex: number): UpdateRecord[] => {
    const updates = all<UpdateRecord>(updatesSql, roundIndex);
    for (const table of ['updates', 'attempts', 'attempt_messages'])
      run(`DELETE FROM ${table} WHERE round_index = ?`, roundIndex);
    return updates;
  };
  const endRound = (roundIndex: number, changes: Partial<RoundRecord>): UpdateRecord[] | null => {
    const round = one<RoundRecord>('SELECT record FROM rounds WHERE round_index = ?', roundIndex);
    if (round?.status !== 'open') return null;
    run('UPDATE rounds SET record = ? WHERE round_index = ?', JSON.stringify({ ...round, ...changes }), roundIndex);
    return takeUpdates(roundIndex);
  };

  const changeStatus = (
    clientId: ClientId,
    from: readonly ClientRecord['status'][],
    changes: Pick<ClientRecord, 'status' | 'letIn'>,
  ): Promise<boolean> =>
    together(() => {
      const client = one<ClientRecord>(clientSql, clientId);
      if (client === null || !from.includes(client.status)) return false;
      run('UPDATE clients SET record = ? WHERE client_id = ?', JSON.stringify({ ...client, ...changes }), clientId);
      return true;
    });

  return {
    log: sqliteLog(database, { guard, together }),
    documents: sqliteDocuments(database, { guard, together }),
    federation: () => guard(() => one<FederationRecord>('SELECT record FROM federation')),
    createFederation: (record) =>
      together(() => {
        if (run('INSERT OR IGNORE INTO federation VALUES (1, ?)', JSON.stringify(record)) === 0)
          throw new StoreError('federation-exists', 'this state already holds a federation');
      }),
    address: () =>
      guard(() => {
        const row = prepare('SELECT url FROM address').get();
        return row === undefined ? null : String(row.url);
      }),
    setAddress: (url) => together(() => void run('INSERT OR REPLACE INTO address VALUES (1, ?)', url)),
    // These two only ever become stricter, so that they need not be durable to be minded.
    client: (clientId) => attempt(() => one<ClientRecord>(clientSql, clientId)),
    clients: () => guard(() => all<ClientRecord>('SELECT record FROM clients ORDER BY client_id')),
    approveClient: (clientId) => changeStatus(clientId, ['pending'], { status: 'approved', letIn: true }),
    revokeClient: (clientId) => changeStatus(clientId, ['pending', 'approved'], { status: 'revoked' }),
    sequenceOf: (clientId) =>
      attempt(() => Number(prepare('SELECT sequence FROM clients WHERE client_id = ?').get(clientId)?.sequence ?? 0)),
    advanceSequence: (clientId, sequence) =>
      together(
        () =>
          run('UPDATE clients SET sequence = ? WHERE client_id = ? AND sequence < ?', sequence, clientId, sequence) ===
          1,
      ),
    addInvite: (invite) =>
      together(() => void run('INSERT INTO invites VALUES (?, ?)', invite.tokenHash, JSON.stringify(invite))),
    invites: () => guard(() => all<InviteRecord>('SELECT record FROM invites')),
    redeemInvite: (tokenHash, client, nowMs) =>
      together(() => {
        const invite = one<InviteRecord>('SELECT record FROM invites WHERE token_hash = ?', tokenHash);
        if (
          invite === null ||
          invite.redeemedBy !== null ||
          invite.expiresMs <= nowMs ||
          one(clientSql, client.clientId) !== null
        )
          return null;
        const status = invite.approval === 'automatic' ? 'approved' : 'pending';
        const record: ClientRecord = { ...client, organisation: invite.organisation, status };
        run(
          'UPDATE invites SET record = ? WHERE token_hash = ?',
          JSON.stringify({ ...invite, redeemedBy: client.clientId }),
          tokenHash,
        );
        run('INSERT INTO clients (client_id, record) VALUES (?, ?)', client.clientId, JSON.stringify(record));
        return record;
      }),
    openRound: (roundIndex, roundHash, asked) =>
      together(() => {
        const record: RoundRecord = {
          roundIndex,
          roundHash,
          status: 'open',
          attempt: 0,
          asked,
          contributed: 0,
          detail: '',
        };
        if (run('INSERT OR IGNORE INTO rounds VALUES (?, ?)', roundIndex, JSON.stringify(record)) === 0)
          throw new StoreError('round-exists', `round ${roundIndex} was opened before`);
      }),
    voidRound: (roundIndex, contributed, detail) =>
      together(() => endRound(roundIndex, { status: 'void', contributed, detail }) ?? []),
    reopenRound: (roundIndex, roundHash, asked) =>
      together(() => {
        const round = one<RoundRecord>('SELECT record FROM rounds WHERE round_index = ?', roundIndex);
        if (round?.status !== 'open') throw new StoreError('round-closed', `round ${roundIndex} is not open`);
        // Rounds of earlier versions have no attempts.
        const record: RoundRecord = { ...round, roundHash, asked, attempt: (round.attempt ?? 0) + 1 };
        run('UPDATE rounds SET record = ? WHERE round_index = ?', JSON.stringify(record), roundIndex);
        return takeUpdates(roundIndex);
      }),
    openAttempt: (attempt) =>
      together(
        () => void run('INSERT OR REPLACE INTO attempts VALUES (?, ?)', attempt.roundIndex, JSON.stringify(attempt)),
      ),
    addAttemptMessage: (roundIndex, message) =>
      together(
        () =>
          void run(
            'INSERT INTO attempt_messages (round_index, record) VALUES (?, ?)',
            roundIndex,
            JSON.stringify(message),
          ),
      ),
    attemptOf: (roundIndex) =>
      guard(() => {
        const attempt = one<AttemptRecord>('SELECT record FROM attempts WHERE round_index = ?', roundIndex);
        if (attempt === null) return null;
        const sql = 'SELECT record FROM attempt_messages WHERE round_index = ? ORDER BY id';
        return { attempt, messages: all<string>(sql, roundIndex) };
      }),
    rounds: () => guard(() => all<RoundRecord>('SELECT record FROM rounds ORDER BY round_index')),
    addUpdate: (update) =>
      together(() => {
        run(
          'INSERT OR IGNORE INTO updates VALUES (?, ?, ?)',
          update.roundIndex,
          update.clientId,
          JSON.stringify(update),
        );
        const sql = 'SELECT record FROM updates WHERE round_index = ? AND client_id = ?';
        return one<UpdateRecord>(sql, update.roundIndex, update.clientId) ?? update;
      }),
    updatesOf: (roundIndex) => guard(() => all<UpdateRecord>(updatesSql, roundIndex)),
    createVersion: (version) =>
      together(() => {
        if (one('SELECT record FROM versions LIMIT 1') !== null)
          throw new StoreError('version-exists', 'this state already holds an adapter');
        run('INSERT INTO versions VALUES (?, ?)', version.version, JSON.stringify(version));
      }),
    publish: (version, detail) =>
      together(() => {
        const latest = one<VersionRow>('SELECT record FROM versions ORDER BY version DESC LIMIT 1');
        const { contributed } = version;
        const updates = endRound(version.roundIndex, { status: 'published', contributed, detail });
        if (updates === null || version.version !== (latest?.version ?? -1) + 1) {
          throw new StoreError(
            'round-closed',
            `round ${version.roundIndex} is not open or version ${version.version} exists`,
          );
        }
        run('INSERT INTO versions VALUES (?, ?)', version.version, JSON.stringify(version));
        return updates;
      }),
    addVersion: (version) =>
      together(() => {
        const latest = one<VersionRow>('SELECT record FROM versions ORDER BY version DESC LIMIT 1');
        if (version.version !== (latest?.version ?? -1) + 1)
          throw new StoreError('round-closed', `version ${version.version} is not the next one`);
        run('INSERT INTO versions VALUES (?, ?)', version.version, JSON.stringify(version));
      }),
    versions: () => guard(() => all<VersionRow>('SELECT record FROM versions ORDER BY version')),
    latestVersion: () => guard(() => one<VersionRow>('SELECT record FROM versions ORDER BY version DESC LIMIT 1')),
    durably: (work) =>
      attempt(async () => {
        const value = await waits.run(true, work);
        await durable();
        return value;
      }),
    close: () =>
      attempt(async () => {
        commits.applyNow();
        try {
          await commits.durable();
        } finally {
          database.close();
          closeSync(log);
        }
      }),
  };
}

/** The database, and a descriptor of its write-ahead log, which lives as long as a connection does. */
function open(path: string): { readonly database: DatabaseSync; readonly log: number } {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(path);
    database.exec(
      'PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;',
    );
    const found = Number(database.prepare('PRAGMA user_version').get()?.user_version);
    if (found > schemaVersion) {
      throw new StoreError(
        'store-too-new',
        `${path} has schema version ${found}, this program knows ${schemaVersion}; use a newer tributary`,
      );
    }
    // This first transaction makes the log file where there is none, and with FULL its name is durable; from now on its content is flushed as above.
    database.exec(
      `BEGIN IMMEDIATE; ${schema} PRAGMA user_version = ${schemaVersion}; COMMIT; PRAGMA synchronous = NORMAL;`,
    );
    return { database, log: openSync(`${path}-wal`, 'r+') };
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError(
      'store-failed',
      `cannot open ${path}: ${errorMessage(cause)}; check the folder and its permissions`,
      { cause },
    );
  }
}
