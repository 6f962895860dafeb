/**
 * The thread in which the digest of a base is computed while the main thread loads its weights: both read the same open files, so a base is
 * hashed in the time in which it is loaded. It imports nothing but Node, so that it starts at once.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/** A range of an open file. */
export interface FileRange {
  readonly descriptor: number;
  readonly offset: number;
  readonly length: number;
}

/** What the thread answers with. */
export type HashAnswer =
  | { readonly kind: 'hashed'; readonly digest: string }
  | { readonly kind: 'failed'; readonly reason: string };

function hash(parts: readonly (Uint8Array | FileRange)[]): HashAnswer {
  const state = createHash('sha256');
  const buffer = new Uint8Array(512 * 1024);
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      state.update(part);
      continue;
    }
    const { descriptor, offset, length } = part;
    for (let done = 0; done < length; ) {
      const count = readSync(descriptor, buffer, 0, Math.min(buffer.length, length - done), offset + done);
      if (count === 0) return { kind: 'failed', reason: `the file ends at byte ${offset + done}` };
      state.update(buffer.subarray(0, count));
      done += count;
    }
  }
  return { kind: 'hashed', digest: state.digest('hex') };
}

try {
  parentPort?.postMessage(hash(workerData as readonly (Uint8Array | FileRange)[]));
} catch (thrown) {
  parentPort?.postMessage({ kind: 'failed', reason: String(thrown) } satisfies HashAnswer);
}
