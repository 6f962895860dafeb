/**
 * The digest of a base from a thread of its own: the main thread loads the weights meanwhile, from the same open files. The program of the
 * thread is the text of a function, so that it starts at once: it reads no file and imports nothing.
 */
import { Worker } from 'node:worker_threads';
import { UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { ByteFile } from './byte-file.node.ts';
import { pieceBytes } from './byte-source.ts';
import type { DigestPart } from './digest.ts';

/** A digest under way. */
export interface Hashing {
  /** Rejects with UsageError `no-base` when the files cannot be read. Nobody needs to wait for it. */
  readonly digest: Promise<Digest>;
  /** Ends the thread, whether or not it is done. */
  stop(): Promise<unknown>;
}

/** A range of an open file. */
interface FileRange {
  readonly descriptor: number;
  readonly offset: number;
  readonly length: number;
}

/** What the thread is given. */
interface HashWork {
  readonly parts: readonly (Uint8Array | FileRange)[];
  readonly pieceBytes: number;
}

/** What it answers with. */
type HashAnswer = { readonly digest: string } | { readonly failure: string };

/** Runs in the thread. Nothing outside of it is there: modules come from the process, everything else from `workerData`. */
function threadProgram(): void {
  const threads = process.getBuiltinModule('node:worker_threads');
  const { readSync } = process.getBuiltinModule('node:fs');
  const state = process.getBuiltinModule('node:crypto').createHash('sha256');
  const work = threads.workerData as HashWork;
  const buffer = new Uint8Array(work.pieceBytes);
  const hash = (): HashAnswer => {
    for (const part of work.parts) {
      if (part instanceof Uint8Array) {
        state.update(part);
        continue;
      }
      const { descriptor, offset, length } = part;
      for (let done = 0; done < length; ) {
        const count = readSync(descriptor, buffer, 0, Math.min(buffer.length, length - done), offset + done);
        if (count === 0) return { failure: `the file ends at byte ${offset + done}` };
        state.update(buffer.subarray(0, count));
        done += count;
      }
    }
    return { digest: state.digest('hex') };
  };
  let answer: HashAnswer;
  try {
    answer = hash();
  } catch (thrown) {
    answer = { failure: String(thrown) };
  }
  threads.parentPort?.postMessage(answer);
}

/** Starts to hash; the sources of tensors are open files (`openByteFile`) and stay open until it stops. */
export function hashInThread(parts: readonly DigestPart[]): Hashing {
  const workerData: HashWork = { parts: parts.map(rangeOf), pieceBytes };
  const thread = new Worker(`(${threadProgram.toString()})()`, { eval: true, workerData });
  const digest = new Promise<Digest>((resolve, reject) => {
    const fail = (reason: string): void => reject(new UsageError('no-base', `cannot read the weights: ${reason}`));
    thread.once('message', (answer: HashAnswer) => {
      if ('digest' in answer) resolve(answer.digest as Digest);
      else fail(answer.failure);
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
