/** The digest of a base from a thread of its own, while the main thread loads the weights. */
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { ByteFile } from './byte-file.node.ts';
import type { DigestPart } from './digest.ts';
import type { FileRange, HashAnswer } from './hash-thread.node.ts';

/** A digest under way. */
export interface Hashing {
  /** Rejects with UsageError `no-base` when the files cannot be read. Nobody needs to wait for it. */
  readonly digest: Promise<Digest>;
  /** Ends the thread, whether or not it is done. */
  stop(): Promise<unknown>;
}

/** Starts to hash; the sources of tensors are open files (`openByteFile`) and stay open until it stops. */
export function hashInThread(parts: readonly DigestPart[]): Hashing {
  const path = new URL(`./hash-thread.node${extname(import.meta.url)}`, import.meta.url);
  const thread = new Worker(path, { workerData: parts.map(rangeOf) });
  const digest = new Promise<Digest>((resolve, reject) => {
    const fail = (reason: string): void => reject(new UsageError('no-base', `cannot read the weights: ${reason}`));
    thread.once('message', (answer: HashAnswer) => {
      if (answer.kind === 'hashed') resolve(answer.digest as Digest);
      else fail(answer.reason);
    });
    thread.once('error', reject);
    thread.once('exit', () => fail('the thread that hashes them ended early'));
  });
  // When loading fails, nobody asks for it.
  digest.catch(() => undefined);
  return { digest, stop: () => thread.terminate() };
}

function rangeOf(part: DigestPart): Uint8Array | FileRange {
  if (part instanceof Uint8Array) return part;
  const { source, offset, byteCount } = part;
  return { descriptor: (source as ByteFile).descriptor, offset, length: byteCount };
}
