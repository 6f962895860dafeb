/**
 * What was fetched of a repository, in the cache: `<hub>/<owner--name>/<commit>/` holds the files and a manifest of their checksums, written
 * when all are there; `refs/` the commits that names of revisions meant when they were last looked up.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { errorMessage, StoreError } from '../../core/errors.ts';
import { type HubReference, isCommit } from './reference.ts';

/** A file that was fetched and checked against the hub. */
export interface KeptFile {
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
}

const manifestName = 'tributary-manifest.json';
const manifestSchema = z.strictObject({
  format: z.literal('tributary-hub-1'),
  endpoint: z.string(),
  repository: z.string(),
  commit: z.string(),
  files: z.array(
    z.strictObject({
      name: z.string().check(z.regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/)),
      size: z.int().check(z.nonnegative()),
      sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    }),
  ),
});

/** The fetched commits of one repository. */
export interface Snapshots {
  /** Where they are; the lock of a download is kept here. */
  readonly folder: string;
  folderOf(commit: string): string;
  /** The commit that a revision meant last, or null. */
  commitOf(revision: string): Promise<string | null>;
  remember(revision: string, commit: string): Promise<void>;
  /** The files of a commit that is there whole, or null; nothing of them was read. */
  manifest(commit: string): Promise<readonly KeptFile[] | null>;
  complete(commit: string, files: readonly KeptFile[]): Promise<void>;
  /** Reads every file of a commit; the names of those that are not what was fetched. */
  damaged(commit: string, files: readonly KeptFile[], signal: AbortSignal): Promise<readonly string[]>;
}

/** The snapshots of a repository below `cache`. Failures of the disk are StoreErrors. */
export function snapshotsOf(cache: string, endpoint: string, { repository }: HubReference): Snapshots {
  const { host, pathname } = new URL(endpoint);
  const hub = `${host}${pathname === '/' ? '' : pathname}`.replaceAll(/[^A-Za-z0-9.-]/g, '_');
  const folder = join(cache, 'hub', hub, repository.replace('/', '--'));
  const folderOf = (commit: string): string => join(folder, commit);
  const refOf = (revision: string): string => join(folder, 'refs', encodeURIComponent(revision));
  return {
    folder,
    folderOf,
    commitOf: async (revision) => {
      const commit = (await readIfThere(refOf(revision)))?.trim() ?? null;
      return commit !== null && isCommit(commit) ? commit : null;
    },
    remember: (revision, commit) => replaceFile(refOf(revision), `${commit}\n`),
    manifest: async (commit) => {
      const text = await readIfThere(join(folderOf(commit), manifestName));
      const parsed = text === null ? null : manifestSchema.safeParse(parseJson(text));
      // One that cannot be read counts as none: the files are fetched, or found whole, once more.
      return parsed?.success === true && parsed.data.commit === commit ? parsed.data.files : null;
    },
    complete: (commit, files) => {
      const manifest = { format: 'tributary-hub-1', endpoint, repository, commit, files };
      return replaceFile(join(folderOf(commit), manifestName), `${JSON.stringify(manifest, null, 1)}\n`);
    },
    damaged: async (commit, files, signal) => {
      const wrong: string[] = [];
      for (const { name, size, sha256 } of files) {
        const path = join(folderOf(commit), name);
        const hash = createHash('sha256');
        if ((await sizeOf(path)) === size) await addToHash(path, [hash], signal);
        if (hash.digest('hex') !== sha256) wrong.push(name);
      }
      return wrong;
    },
  };
}

/** Size of a file in bytes, null where there is none. */
export async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    if (isAbsent(cause)) return null;
    throw storeError('read', path, cause);
  }
}

/** A hash under way, as `node:crypto` has it. */
export type FileHash = ReturnType<typeof createHash>;

/** Adds the bytes of a file to hashes under way, piece by piece. @throws StoreError; the reason of `signal`. */
export async function addToHash(path: string, hashes: readonly FileHash[], signal: AbortSignal): Promise<void> {
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024, signal }))
      for (const hash of hashes) hash.update(piece as Buffer);
  } catch (cause) {
    signal.throwIfAborted();
    throw storeError('read', path, cause);
  }
}

/** An error of the disk that names what was tried. */
export function storeError(what: 'read' | 'write', path: string, cause: unknown): StoreError {
  return new StoreError(
    'cache-failed',
    `cannot ${what} ${path}: ${errorMessage(cause)}; TRIBUTARY_CACHE names another folder`,
    {
      cause,
    },
  );
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (isAbsent(cause)) return null;
    throw storeError('read', path, cause);
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw storeError('write', path, cause);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isAbsent(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR');
}
