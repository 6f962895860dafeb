/**
 * Examples in a temporary file, for data that is larger than memory: written once while the rows stream by, then read a batch at a time in any
 * order. In memory stay 16 bytes an example. The file has no name any more while it is used, so that it vanishes with the process however that ends;
 * it holds token ids, that is text, and only its owner may read it.
 *
 * Layout: for every example its ids, then its targets plus one, in 16 or 32 bits by the size of the vocabulary, in the byte order of the machine.
 * Targets that are the ids themselves (plain language modelling) take no place.
 */
import { readSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../core/assert.ts';
import { errorMessage, StoreError } from '../core/errors.ts';
import type { EncodedExample } from './encode.ts';
import { type ExampleSource, memorySource, requireIndices } from './example-source.ts';

/** Bytes that are written at once. */
const writeBytes = 1 << 20;
/** Examples nearer to each other than this are read together: skipping is cheaper than asking again. */
const gapBytesMax = 1 << 14;
/** Bytes that one reading together may take. */
const runBytesMax = 1 << 20;
/** Resident bytes that an example takes in memory beside its ids and targets (measured): an object, two typed arrays and their buffers. */
const exampleBytes = 900;
/** In place of the number of targets: they are the ids. */
const sameAsIds = -1;

/** How examples are kept. */
export interface SpoolOptions {
  /** Token ids and targets lie below this. */
  readonly vocabularySize: number;
  /** Where the file goes; a disk rather than memory. Default: the system's folder for temporary files (TMPDIR). */
  readonly folder?: string;
  /** Stops the writing. */
  readonly signal?: AbortSignal;
}

/** Examples with something to let go of. */
export interface HeldSource extends ExampleSource {
  /** Bytes of the file; 0 when the examples are in memory. */
  readonly fileBytes: number;
  /** Frees what is held; calling it again does nothing, reading afterwards is a bug. */
  close(): Promise<void>;
}

/** What {@link collectExamples} needs. */
export interface CollectOptions extends SpoolOptions {
  /** Bytes that examples may take in memory; more of them go to a file. Default: 256 MiB. */
  readonly memoryBytesMax?: number;
}

/** Keeps a stream of examples in memory while they are few, in a temporary file as soon as they are many. @throws as {@link spoolExamples}. */
export async function collectExamples(
  examples: AsyncIterable<EncodedExample>,
  { memoryBytesMax = 1 << 28, ...options }: CollectOptions,
): Promise<HeldSource> {
  const iterator = examples[Symbol.asyncIterator]();
  const first: EncodedExample[] = [];
  for (let bytes = 0; bytes <= memoryBytesMax; ) {
    options.signal?.throwIfAborted();
    const { value, done } = await iterator.next();
    if (done === true) return { ...memorySource(first), fileBytes: 0, close: async () => {} };
    first.push(value);
    bytes += exampleBytes + 4 * (value.ids.length + value.targets.length);
  }
  return spoolExamples(followedBy(first, iterator), options);
}

async function* followedBy<Item>(first: Item[], rest: AsyncIterator<Item>): AsyncGenerator<Item> {
  try {
    for (const item of first.splice(0)) yield item;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/**
 * Writes a stream of examples to a temporary file and gives them back by index.
 * @throws StoreError `spool-failed` when the disk refuses; the reason of `signal`; whatever the stream throws. Nothing is left behind then.
 */
export async function spoolExamples(
  examples: AsyncIterable<EncodedExample>,
  { vocabularySize, folder = tmpdir(), signal }: SpoolOptions,
): Promise<HeldSource> {
  const spool = await createFile(folder);
  try {
    const index = createIndex();
    const writer = createWriter(spool, vocabularySize < 0xffff ? 2 : 4);
    for await (const example of examples) {
      signal?.throwIfAborted();
      index.add(example, writer.position());
      if (writer.add(example)) await onDisk(folder, writer.flush);
    }
    await onDisk(folder, writer.flush);
    return sourceOf(spool, index.finish(), writer);
  } catch (cause) {
    await spool.close();
    throw cause;
  }
}

/** A new file that is deleted at once and lives on while it is open. */
async function createFile(folder: string): Promise<FileHandle> {
  return onDisk(folder, async () => {
    const place = await mkdtemp(join(folder, 'tributary-spool-'));
    try {
      return await open(join(place, 'examples'), 'wx+', 0o600);
    } finally {
      await rm(place, { recursive: true });
    }
  });
}

async function onDisk<Value>(folder: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    const next = 'free some space, or name another folder with the environment variable TMPDIR';
    throw new StoreError('spool-failed', `cannot keep examples in ${folder}: ${errorMessage(cause)}; ${next}`, {
      cause,
    });
  }
}

/** Targets of an example in the file. */
function storedTargets({ ids, targets }: EncodedExample): number {
  const isSame = ids.length === targets.length && targets.every((target, index) => target === ids[index]);
  return isSame ? sameAsIds : targets.length;
}

function createWriter(spool: FileHandle, width: 2 | 4) {
  const valueMax = width === 2 ? 0xffff : 0x7fffffff;
  const valueCount = writeBytes / width;
  let values = width === 2 ? new Uint16Array(valueCount) : new Uint32Array(valueCount);
  let held = 0;
  let written = 0;
  const put = (value: number): void => {
    // The message is made only when it is needed: this runs for every token.
    if (!(value >= 0 && value <= valueMax)) assert(false, `the value ${value} does not fit ${8 * width} bits`);
    values[held++] = value;
  };
  return {
    width,
    /** Where the next example begins. */
    position: () => written + held * width,
    /** Takes an example; true when it is time to flush. */
    add(example: EncodedExample): boolean {
      const { ids, targets } = example;
      const needed = held + ids.length + targets.length;
      if (needed > values.length) {
        const larger = width === 2 ? new Uint16Array(2 * needed) : new Uint32Array(2 * needed);
        larger.set(values.subarray(0, held));
        values = larger;
      }
      for (const id of ids) put(id);
      if (storedTargets(example) !== sameAsIds) for (const target of targets) put(target + 1);
      return held * width >= writeBytes / 2;
    },
    flush: async (): Promise<void> => {
      const bytes = new Uint8Array(values.buffer, 0, held * width);
      for (let done = 0; done < bytes.length; ) {
        done += (await spool.write(bytes, done, bytes.length - done, written + done)).bytesWritten;
      }
      written += bytes.length;
      held = 0;
    },
  };
}

/** Where the examples lie. */
interface SpoolIndex {
  readonly lengths: Int32Array;
  /** Targets of every example, or {@link sameAsIds}. */
  readonly targetCounts: Int32Array;
  /** First byte of every example. */
  readonly offsets: Float64Array;
}

function createIndex() {
  let count = 0;
  let lengths = new Int32Array(1024);
  let targetCounts = new Int32Array(1024);
  let offsets = new Float64Array(1024);
  return {
    add(example: EncodedExample, offset: number): void {
      if (count === lengths.length) {
        lengths = grown(lengths, new Int32Array(2 * count));
        targetCounts = grown(targetCounts, new Int32Array(2 * count));
        offsets = grown(offsets, new Float64Array(2 * count));
      }
      lengths[count] = example.ids.length;
      targetCounts[count] = storedTargets(example);
      offsets[count++] = offset;
    },
    finish: (): SpoolIndex => ({
      lengths: lengths.slice(0, count),
      targetCounts: targetCounts.slice(0, count),
      offsets: offsets.slice(0, count),
    }),
  };
}

function grown<List extends Int32Array | Float64Array>(list: List, larger: List): List {
  larger.set(list);
  return larger;
}

function sourceOf(spool: FileHandle, index: SpoolIndex, writer: ReturnType<typeof createWriter>): HeldSource {
  const { lengths, targetCounts, offsets } = index;
  const { width } = writer;
  let isOpen = true;
  const valuesOf = (example: number): number => lengths[example]! + Math.max(0, targetCounts[example]!);
  const endOf = (example: number): number => offsets[example]! + width * valuesOf(example);

  /** Bytes of the run that was read last; every example is copied out of it. */
  let scratch = new Uint8Array(runBytesMax);

  /**
   * Reads the examples of one run, ascending, in one go. Waits for the disk: a turn through the thread pool costs more than what is read here,
   * and whoever trains has nothing else to do meanwhile.
   */
  const readRun = (run: readonly number[], found: Map<number, EncodedExample>): void => {
    const start = offsets[run[0]!]!;
    const size = endOf(run.at(-1)!) - start;
    if (size > scratch.length) scratch = new Uint8Array(size);
    for (let done = 0; done < size; ) {
      const bytesRead = readSync(spool.fd, scratch, done, size - done, start + done);
      assert(bytesRead > 0, 'the file of examples is shorter than its index says');
      done += bytesRead;
    }
    for (const example of run) found.set(example, decode(offsets[example]! - start, example));
  };

  const decode = (at: number, example: number): EncodedExample => {
    const Values = width === 2 ? Uint16Array : Uint32Array;
    const values = new Values(scratch.buffer, at, valuesOf(example));
    const length = lengths[example]!;
    const ids = Int32Array.from(values.subarray(0, length));
    if (targetCounts[example] === sameAsIds) return { ids, targets: ids };
    return { ids, targets: Int32Array.from(values.subarray(length), (target) => target - 1) };
  };

  return {
    count: lengths.length,
    lengths,
    fileBytes: writer.position(),
    read: async (indices) => {
      requireIndices(indices, lengths.length);
      assert(isOpen, 'the examples were closed');
      const runs: number[][] = [];
      for (const example of [...new Set(indices)].sort((left, right) => left - right)) {
        const run = runs.at(-1);
        const isNear =
          run !== undefined &&
          offsets[example]! - endOf(run.at(-1)!) <= gapBytesMax &&
          endOf(example) - offsets[run[0]!]! <= runBytesMax;
        if (isNear) run.push(example);
        else runs.push([example]);
      }
      const found = new Map<number, EncodedExample>();
      for (const run of runs) readRun(run, found);
      return indices.map((example) => found.get(example)!);
    },
    close: async () => {
      if (isOpen) await spool.close();
      isOpen = false;
    },
  };
}
