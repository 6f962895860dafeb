/**
 * One file from the hub to the disk: as `NAME.part` until every byte is there and right, so that what was interrupted goes on where it ended,
 * after a lost connection at once and after a lost process at the next call.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FormatError, TransportError } from '../../core/errors.ts';
import type { Hub } from './client.node.ts';
import type { WantedFile } from './listing.ts';
import { type HubReference, writeHubReference } from './reference.ts';
import { addToHash, type FileHash, type KeptFile, sizeOf, storeError } from './snapshot.node.ts';

/** What {@link downloadFile} needs. */
export interface DownloadOptions {
  readonly hub: Hub;
  /** Names the commit. */
  readonly reference: HubReference;
  readonly file: WantedFile;
  /** Exists. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Resolves after so many milliseconds. */
  readonly wait: (ms: number) => Promise<void>;
  /** Called with the bytes of the file that are there. */
  readonly onProgress: (bytes: number) => void;
}

/** Waits before attempts that follow one without a single new byte; when they are used up, the hub is given up. */
const pausesMs = [0, 1000, 4000];

/**
 * Fetches what is missing of a file, checks the whole and puts it in its place. A file that is there and right is left as it is.
 * @throws FormatError `hub-corrupt` when the bytes are not those that the hub names, and forgets them; TransportError `hub-unreachable` when
 * they do not come, and keeps what did; StoreError; the reason of `signal`.
 */
export async function downloadFile(options: DownloadOptions): Promise<KeptFile> {
  const { file, folder, reference, onProgress } = options;
  const { name, size, checksum } = file;
  const path = join(folder, name);
  const there = (await sizeOf(path)) === size ? await sumsOfFile(options, path) : null;
  if (there !== null && checksumOf(there, checksum.kind) === checksum.hex) {
    onProgress(size);
    return { name, size, sha256: checksumOf(there, 'sha256') };
  }
  const part = `${path}.part`;
  if (((await sizeOf(part)) ?? 0) > size) await rm(part);
  const sums = await sumsOfFile(options, part);
  await fetchRest(options, part, sums);
  const found = checksumOf(sums, checksum.kind);
  if (found !== checksum.hex) {
    await rm(part, { force: true });
    throw new FormatError(
      'hub-corrupt',
      `${name} of ${writeHubReference(reference)} arrived with the checksum ${found}, the hub names ${checksum.hex}; it was deleted: try again`,
    );
  }
  await rename(part, path).catch((cause: unknown) => {
    throw storeError('write', path, cause);
  });
  return { name, size, sha256: checksumOf(sums, 'sha256') };
}

/** The hashes of the bytes so far: of the content, and, where the hub names that one, of the file as a Git object. */
interface Sums {
  done: number;
  readonly sha256: FileHash;
  readonly git: FileHash | null;
}

function checksumOf({ sha256, git }: Sums, kind: WantedFile['checksum']['kind']): string {
  return (kind === 'git' && git !== null ? git : sha256).copy().digest('hex');
}

/** The hashes of a file on disk; of nothing where there is none. */
async function sumsOfFile({ file: { size, checksum }, signal }: DownloadOptions, path: string): Promise<Sums> {
  const sha256 = createHash('sha256');
  const git = checksum.kind === 'git' ? createHash('sha1').update(`blob ${size}\0`) : null;
  const done = (await sizeOf(path)) ?? 0;
  if (done > 0) await addToHash(path, git === null ? [sha256] : [sha256, git], signal);
  return { done, sha256, git };
}

async function fetchRest(options: DownloadOptions, path: string, sums: Sums): Promise<void> {
  const { file, reference, signal, wait, onProgress } = options;
  onProgress(sums.done);
  for (let failures = 0; sums.done < file.size || (await sizeOf(path)) === null; ) {
    const before = sums.done;
    const failure = await append(options, path, sums);
    if (failure === null) continue;
    signal.throwIfAborted();
    failures = sums.done > before ? 0 : failures + 1;
    if (failures >= pausesMs.length) {
      if (failure instanceof TransportError) throw failure;
      throw new TransportError(
        'hub-unreachable',
        `${file.name} of ${writeHubReference(reference)} broke off at byte ${sums.done} of ${file.size}: ${errorMessage(failure)}; the next attempt goes on from there`,
        { cause: failure },
      );
    }
    await wait(pausesMs[failures]!);
    signal.throwIfAborted();
  }
}

/** Appends what comes; null when that is all, else why no more came. @throws what no further attempt would mend. */
async function append(options: DownloadOptions, path: string, sums: Sums): Promise<unknown> {
  const { hub, reference, file } = options;
  const handle = await open(path, 'a').catch((cause: unknown) => {
    throw storeError('write', path, cause);
  });
  try {
    let stream: ReadableStream<Uint8Array>;
    try {
      stream = await hub.read(reference, { name: file.name, start: sums.done });
    } catch (thrown) {
      if (thrown instanceof TransportError) return thrown;
      throw thrown;
    }
    const failure = await take(stream, handle, { ...options, path, sums });
    await handle.sync();
    return failure;
  } finally {
    await handle.close();
  }
}

async function take(
  stream: ReadableStream<Uint8Array>,
  handle: FileHandle,
  { file, path, sums, signal, onProgress }: DownloadOptions & { readonly path: string; readonly sums: Sums },
): Promise<unknown> {
  const reader = stream.getReader();
  while (sums.done < file.size) {
    signal.throwIfAborted();
    let value: Uint8Array | undefined;
    try {
      ({ value } = await reader.read());
    } catch (failure) {
      return failure;
    }
    if (value === undefined) return new Error('the connection was closed');
    // A hub that ignores where to begin would send too much; the checksum finds out about the rest.
    const fresh = value.subarray(0, file.size - sums.done);
    await handle.appendFile(fresh).catch((cause: unknown) => {
      throw storeError('write', path, cause);
    });
    sums.sha256.update(fresh);
    sums.git?.update(fresh);
    sums.done += fresh.length;
    onProgress(sums.done);
  }
  await reader.cancel().catch(() => undefined);
  return null;
}
