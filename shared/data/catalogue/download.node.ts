/**
 * Fetches a file over HTTP and goes on where an earlier attempt ended, also one of an earlier process: what has arrived lies beside the target
 * with the ending `.part`, and is continued only while the server says that the file is still the same (ETag).
 */
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage, TransportError } from '../../core/errors.ts';

/** Attempts in a row that bring nothing before giving up. */
const attemptsMax = 4;

/** What {@link download} needs. */
export interface DownloadOptions {
  readonly url: string;
  /** Where the file goes, once it is complete; its folder is made. */
  readonly path: string;
  /** More is refused: it is not what was asked for. */
  readonly bytesMax: number;
  readonly signal: AbortSignal;
  /** Bytes that are there, and how many there will be where the server says so. */
  readonly onProgress?: (done: number, total: number | null) => void;
  /** Wait after the first attempt that brought nothing; doubles from then on. */
  readonly retryDelayMs?: number;
}

/** @throws TransportError `download-failed` when the server refuses, or the connection fails again and again; the reason of `signal`. */
export async function download(options: DownloadOptions): Promise<void> {
  const { url, path, signal, retryDelayMs = 1000 } = options;
  await mkdir(dirname(path), { recursive: true });
  let fruitless = 0;
  for (;;) {
    const before = await sizeOf(partOf(path));
    try {
      await attempt(options, before);
      await rename(partOf(path), path);
      await rm(tagOf(path), { force: true });
      return;
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof TransportError) throw cause;
      const arrived = await sizeOf(partOf(path));
      fruitless = arrived > before ? 0 : fruitless + 1;
      if (fruitless >= attemptsMax) {
        const reason = `${errorMessage(cause)}${cause instanceof Error && cause.cause !== undefined ? ` (${errorMessage(cause.cause)})` : ''}`;
        throw failed(url, `${reason}; ${arrived} bytes are kept, run the command again to go on`, cause);
      }
      await delay(fruitless === 0 ? 0 : retryDelayMs * 2 ** (fruitless - 1), undefined, { signal });
    }
  }
}

const partOf = (path: string): string => `${path}.part`;
const tagOf = (path: string): string => `${path}.part.etag`;

async function attempt({ url, path, bytesMax, signal, onProgress }: DownloadOptions, have: number): Promise<void> {
  const tag = have === 0 ? null : await readFile(tagOf(path), 'utf8').catch(() => null);
  const response = await fetch(url, {
    signal,
    headers: {
      // A compressed body would have other bytes, and other ranges, than the file.
      'accept-encoding': 'identity',
      ...(tag === null ? {} : { range: `bytes=${have}-`, 'if-range': tag }),
    },
  });
  const isPart =
    response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${have}-`) === true;
  if (!isPart && response.status !== 200) {
    await response.body?.cancel();
    // The part is as long as the file, or longer: it is of no use.
    if (response.status === 416) await rm(partOf(path), { force: true });
    const message = `the server answers ${response.status}`;
    if (response.status >= 500 || response.status === 429 || response.status === 416 || response.status === 206) {
      throw new Error(message);
    }
    throw failed(url, `${message}; check the address and your connection`);
  }
  const start = isPart ? have : 0;
  const length = Number(response.headers.get('content-length') ?? Number.NaN);
  const total = Number.isFinite(length) ? start + length : null;
  const newTag = response.headers.get('etag');
  // A weak tag does not promise the same bytes.
  if (newTag === null || newTag.startsWith('W/')) await rm(tagOf(path), { force: true });
  else await writeFile(tagOf(path), newTag);
  const file = await open(partOf(path), isPart ? 'a' : 'w');
  let done = start;
  try {
    // Written piece by piece: what has arrived is kept when the connection breaks off.
    for await (const chunk of response.body ?? []) {
      if (done + chunk.length > bytesMax) throw failed(url, `expected at most ${bytesMax} bytes, found more`);
      await file.writeFile(chunk);
      done += chunk.length;
      onProgress?.(done, total);
    }
  } finally {
    await file.close();
  }
  if (total !== null && done !== total) throw new Error(`expected ${total} bytes, ${done} came`);
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

function failed(url: string, reason: string, cause?: unknown): TransportError {
  return new TransportError('download-failed', `cannot fetch ${url}: ${reason}`, { cause, context: { url } });
}
