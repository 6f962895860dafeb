/**
 * Fetches a set of the catalogue, checks that the files are those of its commit, converts them and writes one file for every side, with a record of
 * where it came from. What is complete is not fetched again; the same published files give the same bytes on every machine.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { FormatError } from '../../core/errors.ts';
import { type SplitSide, splitSides } from '../split.ts';
import type { CatalogueEntry, CatalogueRow } from './entry.ts';
import { type FetchedFile, type FetchOptions, fetchPublished, sha256Of } from './published.node.ts';

/** What {@link getDataSet} needs. */
export interface GetOptions extends FetchOptions {
  /** Where the files go. */
  readonly folder: string;
}

/** One written file. `sha256` is that of the text before compression, which every compressor gives alike. */
export interface ConvertedFile {
  readonly file: string;
  readonly rows: number;
  readonly sha256: string;
}

/** What is there now; written beside the rows as `source.json`. */
export interface DataSetRecord {
  readonly name: string;
  readonly licence: CatalogueEntry['licence'];
  readonly attribution: string;
  readonly repository: string;
  readonly commit: string;
  readonly conversion: number;
  readonly made: string;
  readonly published: readonly FetchedFile[];
  readonly converted: Readonly<Record<SplitSide, ConvertedFile>>;
  /** Whether the rows were compared with recorded checksums. */
  readonly convertedCheckedBy: 'sha256' | 'nothing';
}

/** The record, and whether it was there already. */
export interface GetResult {
  readonly record: DataSetRecord;
  readonly wasThere: boolean;
}

/**
 * Brings `entry` into `folder`.
 * @throws TransportError `download-failed`; FormatError `checksum-mismatch` or `bad-published-file`; UsageError for a mirror that is none.
 */
export async function getDataSet(entry: CatalogueEntry, options: GetOptions): Promise<GetResult> {
  const { folder, signal } = options;
  const known = await recordOf(entry, folder);
  if (known !== null) return { record: known, wasThere: true };
  const place = join(folder, 'published');
  const { fetched, texts } = await fetchPublished(entry.publication, place, options);
  signal.throwIfAborted();
  const rows = entry.convert(texts);
  const converted = await Promise.all(splitSides.map((side) => writeSide(entry, side, rows[side], folder)));
  const record: DataSetRecord = {
    name: entry.name,
    licence: entry.licence,
    attribution: entry.attribution,
    repository: entry.publication.repository,
    commit: entry.publication.commit,
    conversion: entry.conversion,
    made: entry.made,
    published: fetched,
    converted: Object.fromEntries(
      splitSides.map((side, index) => [side, converted[index]!]),
    ) as DataSetRecord['converted'],
    convertedCheckedBy: entry.converted === undefined ? 'nothing' : 'sha256',
  };
  await writeWhole(join(folder, 'source.json'), `${JSON.stringify(record, null, 2)}\n`);
  await rm(place, { recursive: true, force: true });
  return { record, wasThere: false };
}

/** The record of an earlier call, when what it describes is what is asked for now and its files are still what they were. */
async function recordOf(entry: CatalogueEntry, folder: string): Promise<DataSetRecord | null> {
  try {
    const record = JSON.parse(await readFile(join(folder, 'source.json'), 'utf8')) as DataSetRecord;
    const { commit, conversion } = record;
    if (record.name !== entry.name || commit !== entry.publication.commit || conversion !== entry.conversion)
      return null;
    for (const { file, sha256 } of Object.values(record.converted)) {
      if (sha256Of(gunzipSync(await readFile(join(folder, file)))) !== sha256) return null;
    }
    return record;
  } catch {
    // Not there, or not whole: it is made anew.
    return null;
  }
}

async function writeSide(
  entry: CatalogueEntry,
  side: SplitSide,
  rows: readonly CatalogueRow[],
  folder: string,
): Promise<ConvertedFile> {
  const text = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const sha256 = sha256Of(text);
  const expected = entry.converted?.[side];
  if (expected !== undefined && expected !== sha256) {
    throw new FormatError(
      'checksum-mismatch',
      `${entry.name}: the rows for ${side} have the SHA-256 ${sha256}, expected ${expected}; the published files are not those of commit ${entry.publication.commit}`,
    );
  }
  const compressed = gzipSync(text, { level: 9 });
  // The header names the operating system (RFC 1952, section 2.3.1); 255 is "unknown", on every machine.
  compressed[9] = 255;
  const file = `${side}.jsonl.gz`;
  await writeWhole(join(folder, file), compressed);
  return { file, rows: rows.length, sha256 };
}

/** A file is there whole or not at all. */
async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
}
