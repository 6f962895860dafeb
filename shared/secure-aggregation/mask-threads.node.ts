/**
 * Masks in threads: each applies all masks to its own part of the vector, whose streams it enters where its part begins. So the sum needs no memory
 * beside one shared vector, whatever the number of threads. Threads start with the first vector that is worth it.
 */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { assert } from '../core/assert.ts';
import { FederationError } from '../core/errors.ts';
import { startThread, type Thread } from '../core/thread.node.ts';
import type { MaskToApply } from './client-state.ts';
import { applyKeys, type MaskedVector, wipeSeed, wordsPerRange } from './mask.ts';
import type { MaskOrder, MaskReport } from './mask-thread.node.ts';
import { type MaskWork, maskHere } from './mask-work.ts';
import type { RingVector } from './ring.ts';

/** Words of a vector below which masks are applied here: a thread would take longer to be told. */
const wordsMin = 2 ** 16;
/** Masks that are given out at once; their keys are in memory together. */
const masksAtOnce = 32;
/** Bytes of a key. */
const keyBytes = 32;

/** Beyond a few, memory is slower than they are. */
const threadsMax = 8;

/** Threads as many as the machine has cores, `threadCount` otherwise; `smallest` vectors are left to the thread that asks. */
export function createMaskThreads({
  threadCount = Math.min(availableParallelism(), threadsMax),
  smallest = wordsMin,
} = {}): MaskWork {
  let threads: Thread<MaskOrder>[] = [];
  let nextId = 0;
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  /** Orders of vectors that are masked at the same time follow each other. */
  let last: Promise<void> = Promise.resolve();

  const hear = ({ id, fault }: MaskReport): void => {
    const order = waiting.get(id);
    waiting.delete(id);
    if (fault === null) order?.resolve();
    else order?.reject(new FederationError('masks-failed', `a thread could not apply masks: ${fault}`));
  };
  const start = (): void => {
    // Unbuilt and built files lie alike; only their ending differs.
    const program = new URL(`./mask-thread.node${extname(import.meta.url)}`, import.meta.url);
    threads = Array.from({ length: threadCount }, (_, index) => {
      const thread = startThread<MaskOrder, MaskReport>({
        program,
        name: `masks ${index}`,
        data: null,
        onMessage: hear,
      });
      thread.hold(false);
      thread.ended.catch((thrown: unknown) => {
        for (const order of waiting.values()) order.reject(thrown);
        waiting.clear();
        threads = [];
      });
      return thread;
    });
  };
  /** One batch of masks on all parts. */
  const give = async (words: RingVector, masks: readonly MaskToApply[], suite: MaskOrder['suite']): Promise<void> => {
    const ranges = Math.ceil(words.length / wordsPerRange);
    const perThread = Math.ceil(ranges / threads.length) * wordsPerRange;
    const orders = threads.flatMap((thread, index) => {
      const [from, to] = [index * perThread, Math.min(words.length, (index + 1) * perThread)];
      if (from >= to) return [];
      const keys = new Uint8Array(masks.length * keyBytes);
      for (const [at, { seed }] of masks.entries()) keys.set(seed.coordinates, at * keyBytes);
      const order = Promise.withResolvers<void>();
      const id = nextId++;
      waiting.set(id, order);
      thread.post({ id, words, from, to, suite, keys, signs: masks.map(({ sign }) => sign) }, [keys.buffer]);
      return [order.promise];
    });
    for (const thread of threads) thread.hold(true);
    try {
      await Promise.all(orders);
    } finally {
      for (const thread of threads) thread.hold(false);
    }
  };
  const applyShared = async (vector: MaskedVector, masks: Iterable<MaskToApply>, suite: MaskOrder['suite']) => {
    const { coordinates, tail } = vector;
    if (threads.length === 0) start();
    const shared = sharedCopyOf(coordinates);
    let batch: MaskToApply[] = [];
    const giveBatch = async (): Promise<void> => {
      const given = batch;
      batch = [];
      try {
        applyKeys(
          tail,
          given.map(({ seed, sign }) => ({ key: seed.tail, sign })),
          suite,
        );
        if (given.length > 0) await give(shared, given, suite);
      } finally {
        for (const { seed } of given) wipeSeed(seed);
      }
    };
    try {
      for (const mask of masks) {
        batch.push(mask);
        if (batch.length === masksAtOnce) await giveBatch();
      }
      await giveBatch();
      coordinates.set(shared);
    } finally {
      // Until all masks are on it, it may be a client's contribution in clear.
      shared.fill(0);
    }
  };
  return {
    apply: (vector, masks, suite) => {
      if (vector.coordinates.length < smallest || threadCount < 2) return maskHere.apply(vector, masks, suite);
      const applied = last.then(() => applyShared(vector, masks, suite));
      last = applied.catch(() => undefined);
      return applied;
    },
    close: async () => {
      await last;
      const ending = threads;
      threads = [];
      await Promise.all(ending.map((thread) => thread.end()));
      assert(waiting.size === 0, 'whoever closes waits for nothing any more');
    },
  };
}

function sharedCopyOf(words: RingVector): RingVector {
  const memory = new SharedArrayBuffer(words.byteLength);
  const copy = words.BYTES_PER_ELEMENT === 4 ? new Uint32Array(memory) : new Uint16Array(memory);
  copy.set(words);
  return copy;
}

/** The threads of this process, shared by all who mask in it. */
export const maskThreads: MaskWork = createMaskThreads();
