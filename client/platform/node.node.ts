/**
 * The client's platform on Node: one state folder with `identity.key` (mode 0600), `journal.json` (written to a temporary file, flushed,
 * renamed, folder flushed), `content/` (fetched bytes by digest), `personal/` (parts of adapters and charges of records, which never leave the client), `evidence/` (checkpoints and receipts) and `lock.sqlite`,
 * which keeps a second running client off it.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod/mini';
import { concatBytes, fromHex, toHex } from '../../shared/core/bytes.ts';
import { errorMessage, StoreError, TransportError } from '../../shared/core/errors.ts';
import { lockFolder } from '../../shared/core/folder-lock.node.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { systemClock } from '../../shared/core/system-clock.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import { createSeed } from '../../shared/crypto/identity.ts';
import { openByteFile } from '../../shared/model/byte-file.node.ts';
import { maskThreads } from '../../shared/secure-aggregation/mask-threads.node.ts';
import type { ContentCache, Journal, JournalEntry, JsonAnswer, PersonalParts, Platform } from './ports.ts';
import { emptyJournal } from './ports.ts';

const hex64 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const journalSchema = z.strictObject({
  format: z.literal('tributary-client-journal-1'),
  credentials: z.nullable(
    z.strictObject({
      url: z.string(),
      federationId: hex64,
      coordinatorKey: hex64,
      clientId: hex64,
      consortium: z._default(z.nullable(hex64), null),
    }),
  ),
  sequenceBound: z.int().check(z.nonnegative()),
  contributions: z.record(
    hex64,
    z.strictObject({
      roundIndex: z.int().check(z.nonnegative()),
      roundHash: hex64,
      sessionId: z.string().check(z.regex(/^[0-9a-f]{32}$/)),
    }),
  ),
  ends: z._default(
    z.record(hex64, z.strictObject({ roundIndex: z.int().check(z.nonnegative()), modelHash: hex64 })),
    {},
  ),
});

/** Writes `bytes` so that after a crash the file holds either the old or the new content, whole. */
export async function replaceFile(path: string, bytes: Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'w', mode);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readOrNull(path: string): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return null;
    throw new StoreError('unreadable-file', `cannot read ${path}: ${errorMessage(thrown)}`, { cause: thrown });
  }
}

/**
 * The journal as a JSON file, which is there before the key is: a key without it has a past that nobody knows. @throws StoreError `journal-damaged` on that,
 * and on anything that this version did not write.
 */
function fileJournal(path: string, keyPath: string): Journal {
  return {
    read: async () => {
      const bytes = await readOrNull(path);
      if (bytes === null && existsSync(keyPath)) throw damaged(path, 'it is missing, and the key is there');
      if (bytes === null) return emptyJournal;
      let value: unknown;
      try {
        value = JSON.parse(new TextDecoder().decode(bytes));
      } catch (thrown) {
        throw damaged(path, errorMessage(thrown));
      }
      const parsed = journalSchema.safeParse(value);
      if (!parsed.success) throw damaged(path, z.prettifyError(parsed.error));
      const { format: _, ...entry } = parsed.data;
      // The schema checked the digits; the brands only name what they are.
      return entry as unknown as JournalEntry;
    },
    write: (entry) => {
      const text = JSON.stringify({ format: 'tributary-client-journal-1', ...entry }, null, 1);
      return replaceFile(path, new TextEncoder().encode(`${text}\n`)).catch((thrown: unknown) => {
        throw new StoreError('journal-not-written', `cannot write ${path}: ${errorMessage(thrown)}`, { cause: thrown });
      });
    },
  };
}

function damaged(path: string, reason: string): StoreError {
  return new StoreError(
    'journal-damaged',
    `${path} is not a journal of this client (${reason}); without it nobody knows to which rounds this key contributed: ` +
      'restore it from a backup, or delete the whole state folder and enrol again with a new invite',
  );
}

/** Personal parts as files that are replaced whole. */
function filePersonal(folder: string): PersonalParts {
  return {
    read: (name) => readOrNull(join(folder, name)),
    write: (name, bytes) =>
      replaceFile(join(folder, name), bytes).catch((thrown: unknown) => {
        throw new StoreError('personal-not-written', `cannot keep ${name} in ${folder}: ${errorMessage(thrown)}`, {
          cause: thrown,
        });
      }),
  };
}

/** Fetched bytes as files named by their digest; what is lost is fetched again. */
function fileCache(folder: string): ContentCache {
  const pathOf = (digest: Digest): string => join(folder, digest);
  return {
    get: (digest) => readOrNull(pathOf(digest)),
    open: async (digest) => (existsSync(pathOf(digest)) ? openByteFile(pathOf(digest)) : null),
    put: async (digest, bytes) => {
      const temporary = `${pathOf(digest)}.${process.pid}.tmp`;
      try {
        await writeFile(temporary, bytes, { mode: 0o600 });
        await rename(temporary, pathOf(digest));
      } catch (thrown) {
        await rm(temporary, { force: true });
        throw new StoreError(
          'cache-not-written',
          `cannot keep ${bytes.length} fetched bytes in ${folder}: ${errorMessage(thrown)}`,
          { cause: thrown },
        );
      }
    },
  };
}

/** The seed in a file of 64 hex digits, mode 0600; made on first use. @throws StoreError `key-damaged`. */
export async function readSeed(path: string): Promise<Uint8Array> {
  const stored = await readOrNull(path);
  if (stored === null) {
    const seed = createSeed(systemEntropy);
    await replaceFile(path, new TextEncoder().encode(`${toHex(seed)}\n`));
    return seed;
  }
  const text = new TextDecoder().decode(stored).trim();
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new StoreError(
      'key-damaged',
      `${path} must hold 64 hex digits; restore it, or delete the state folder and enrol again`,
    );
  }
  await chmod(path, 0o600);
  return fromHex(text);
}

/** Bytes of an answer over HTTP: where the updates of a site went in the longest federation. */
const answerBytesMax = 4 * 1024 * 1024;

/** The JSON of an answer; one that goes on beyond its bound is given up, whatever it said of its length. */
async function jsonOf(response: Response): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > answerBytesMax) throw new Error(`the answer has more than ${answerBytesMax} bytes`);
    parts.push(part);
  }
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(concatBytes(...parts)));
}

async function requestJson(url: string, timeoutMs: number, body?: unknown): Promise<JsonAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const init =
      body === undefined
        ? { signal }
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal };
    const response = await fetch(url, init);
    return { status: response.status, body: await jsonOf(response) };
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause instanceof Error ? ` (${thrown.cause.message})` : '';
    throw new TransportError('no-answer', `no usable answer from ${url}: ${errorMessage(thrown)}${cause}`, {
      cause: thrown,
    });
  }
}

/** Everything a client needs on Node, kept under `stateFolder`, which is made if it is not there. @throws StoreError. */
export async function nodePlatform(stateFolder: string): Promise<Platform> {
  try {
    for (const part of ['content', 'personal', 'evidence'])
      await mkdir(join(stateFolder, part), { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw new StoreError('state-folder', `cannot make the state folder ${stateFolder}: ${errorMessage(thrown)}`, {
      cause: thrown,
    });
  }
  const keyPath = join(stateFolder, 'identity.key');
  const journal = fileJournal(join(stateFolder, 'journal.json'), keyPath);
  return {
    clock: systemClock,
    entropy: systemEntropy,
    journal,
    cache: fileCache(join(stateFolder, 'content')),
    personal: filePersonal(join(stateFolder, 'personal')),
    evidence: filePersonal(join(stateFolder, 'evidence')),
    maskWork: maskThreads,
    claim: async () => lockFolder(stateFolder, 'client'),
    identitySeed: async () => {
      if (!existsSync(keyPath)) await journal.write(await journal.read());
      return readSeed(keyPath);
    },
    requestJson,
  };
}
