/**
 * Splits a data file of any format into JSON Lines for training, validation and test, row by row: the file may be larger than memory. Values are
 * written as they were read. The file is read twice; with groups, memory holds two numbers for every distinct text.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { createGzip, type Gzip } from 'node:zlib';
import { readRecords } from './records.node.ts';
import { badRow, type RowFault, type RowFaults } from './row-faults.ts';
import { columnOf, keyOfRecord, nameIn, type RecordView } from './row-fields.ts';
import { drawOf, type SplitKeys, type SplitSettings, type SplitSide, splitSides, splitterOf } from './split.ts';

/** What {@link splitFile} needs. */
export interface SplitFileOptions {
  /** A file, a folder of shards or a pattern. */
  readonly path: string;
  /** Where `train.jsonl.gz` and the others go. */
  readonly folder: string;
  readonly settings: SplitSettings;
  /** What says that two rows are the same. Default: the usual names of what a task reads (text, messages, prompt, tokens, words). */
  readonly textColumn?: string;
  /** Whose rows must not be parted. */
  readonly groupColumn?: string;
  /** Where broken rows are noted, and then left out. Without it the first one stops the work. */
  readonly faults?: RowFaults;
  readonly signal: AbortSignal;
  readonly onProgress?: (rows: number) => void;
}

/** Rows written to each side, and those of several groups that stand on another side already. */
export type SplitCounts = Readonly<Record<SplitSide | 'leftOut', number>>;

/** @throws as `readRecords` does; FormatError for a row without text or group; the reason of `signal`. Files appear whole or not at all. */
export async function splitFile(options: SplitFileOptions): Promise<SplitCounts> {
  const { folder, settings, signal, onProgress } = options;
  const { sideAtDraw, highest } = await survey(options);
  const counts = { train: 0, validation: 0, test: 0, leftOut: 0 };
  await mkdir(folder, { recursive: true });
  const sides = splitSides.filter((side) => side === 'train' || (settings[side] ?? 0) > 0);
  const writers = new Map(sides.map((side) => [side, createWriter(join(folder, `${side}.jsonl.gz`))]));
  try {
    let rows = 0;
    // What is wrong with a row was noted in the first reading.
    const again = options.faults === undefined ? options : { ...options, faults: silent };
    for await (const { value, keys } of keyedRecords(again)) {
      const side = sideAtDraw(drawOf(keys, settings));
      const isKept = highest === null || sideAtDraw(highest.get(numberOf(keys.key))!) === side;
      counts[isKept ? side : 'leftOut']++;
      if (isKept) await writers.get(side)!.write(`${JSON.stringify(value)}\n`);
      if (++rows % rowsPerTurn > 0) continue;
      onProgress?.(rows);
      signal.throwIfAborted();
    }
    signal.throwIfAborted();
    onProgress?.(rows);
    for (const writer of writers.values()) await writer.finish();
    for (const writer of writers.values()) await writer.publish();
  } finally {
    for (const writer of writers.values()) await writer.discard();
  }
  return counts;
}

/** Rows between two looks at the signal. */
const rowsPerTurn = 1000;
/** With so many distinct draws no side that has a share worth the name is empty, and none need be kept. */
const drawsMax = 100_000;

/** The first reading: which draws there are, so that no side is left empty, and the highest for every text where groups may share it. */
async function survey(options: SplitFileOptions): Promise<{
  readonly sideAtDraw: (draw: number) => SplitSide;
  readonly highest: ReadonlyMap<number, number> | null;
}> {
  const { settings, groupColumn, signal } = options;
  const draws = new Set<number>();
  const highest = groupColumn === undefined ? null : new Map<number, number>();
  let rows = 0;
  for await (const { keys } of keyedRecords(options)) {
    const draw = drawOf(keys, settings);
    if (draws.size < drawsMax) draws.add(draw);
    if (highest !== null) {
      const text = numberOf(keys.key);
      highest.set(text, Math.max(draw, highest.get(text) ?? 0));
    }
    if (++rows % rowsPerTurn === 0) signal.throwIfAborted();
  }
  return { sideAtDraw: splitterOf(settings, draws.size < drawsMax ? draws : []), highest };
}

const silent: RowFaults = { count: 0, first: [], add: () => {} };

async function* keyedRecords({ path, textColumn, groupColumn, faults }: SplitFileOptions): AsyncGenerator<{
  readonly value: Readonly<Record<string, unknown>>;
  readonly keys: SplitKeys;
}> {
  for await (const { value, line, file } of readRecords(path, faults === undefined ? {} : { faults })) {
    let fault: RowFault | null = null;
    const fail = (reason: string): never => {
      fault = { file, line, reason };
      throw badRow(fault);
    };
    const view: RecordView = { value, line, fail };
    let keys: SplitKeys;
    try {
      const key = keyOfRecord(view, { text: textColumn });
      keys = groupColumn === undefined ? { key } : { key, group: nameIn(view, columnOf(view, [groupColumn])) };
    } catch (cause) {
      if (fault === null || faults === undefined) throw cause;
      faults.add(fault);
      continue;
    }
    yield { value, keys };
  }
}

/** 48 bits of a hash: enough to tell texts apart, little enough to keep one for every text. */
function numberOf(key: string): number {
  return createHash('sha256').update(key).digest().readUIntBE(0, 6);
}

interface Writer {
  write(line: string): Promise<void>;
  finish(): Promise<void>;
  /** Gives the finished file its name. */
  publish(): Promise<void>;
  /** Removes what is not published. */
  discard(): Promise<void>;
}

function createWriter(path: string): Writer {
  const gzip: Gzip = createGzip();
  const file = gzip.pipe(createWriteStream(`${path}.new`));
  const ended = finished(file);
  // A failure reaches whoever writes or finishes.
  ended.catch(() => {});
  file.on('error', (error) => gzip.destroy(error));
  return {
    write: async (line) => {
      if (!gzip.write(line)) await Promise.race([once(gzip, 'drain'), ended]);
    },
    finish: async () => {
      gzip.end();
      await ended;
    },
    publish: () => rename(`${path}.new`, path),
    discard: async () => {
      gzip.destroy();
      file.destroy();
      await rm(`${path}.new`, { force: true });
    },
  };
}
