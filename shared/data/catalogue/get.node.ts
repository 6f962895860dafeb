/**
 * Fetches a set of the catalogue, checks it as far as its checksums are known, converts it and writes one file for every side, with a record of where
 * it came from. What is complete is not fetched again; the same published files give the same bytes on every machine.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { errorMessage, FormatError, UsageError } from '../../core/errors.ts';
import { publishedFileBytesMax } from '../../core/limits.ts';
import { type SplitSide, splitSides } from '../split.ts';
import { download } from './download.node.ts';
import type { CatalogueEntry, CatalogueRow, Publication, PublishedFile } from './entry.ts';
import { tarFiles } from './tar.ts';

/** Where published files come from when no mirror is named. */
const origins = { files: 'https://raw.githubusercontent.com', archives: 'https://codeload.github.com' } as const;

/** What {@link getDataSet} needs. */
export interface GetOptions {
  /** Where the files go. */
  readonly folder: string;
  /** A server that has the same paths as GitHub's, in place of it. */
  readonly mirror?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: (file: string, done: number, total: number | null) => void;
  readonly retryDelayMs?: number;
}

/** A published file as it was fetched. `checkedBy` says what its content was compared with; `address` is no comparison. */
export interface FetchedFile {
  readonly path: string;
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly checkedBy: 'sha256' | 'git-blob' | 'address';
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
  const fetched: FetchedFile[] = [];
  const texts = new Map<string, string>();
  for (const published of publishedFiles(entry.publication, options.mirror)) {
    const { file, bytes } = await fetchFile(published, join(place, published.name), options);
    fetched.push(file);
    for (const [path, text] of textsOf(bytes, published.name, entry.publication)) texts.set(path, text);
  }
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

interface Published extends Omit<PublishedFile, 'path'> {
  /** Path in the repository, or the name of its archive. */
  readonly name: string;
  readonly url: string;
}

function publishedFiles({ repository, commit, files, archive }: Publication, mirror: string | undefined): Published[] {
  const from = (origin: string): string => (mirror === undefined ? origin : mirrorOf(mirror));
  if (archive !== undefined) {
    return [{ name: 'archive.tar.gz', url: `${from(origins.archives)}/${repository}/tar.gz/${commit}` }];
  }
  return files.map(({ path, ...checksums }) => {
    const url = `${from(origins.files)}/${repository}/${commit}/${path}`;
    return { name: path, url, ...checksums };
  });
}

function mirrorOf(mirror: string): string {
  const url = URL.parse(mirror);
  const isLocal = url !== null && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLocal)))
    return mirror.replace(/\/+$/, '');
  throw new UsageError(
    'bad-mirror',
    `a mirror of data sets is an https address, or an http one of this machine; found ${JSON.stringify(mirror)}`,
  );
}

async function fetchFile(
  published: Published,
  path: string,
  { signal, onProgress, retryDelayMs }: GetOptions,
): Promise<{ readonly file: FetchedFile; readonly bytes: Uint8Array }> {
  const { name, url } = published;
  let bytes: Uint8Array | null = await readFile(path).catch(() => null);
  if (bytes === null || faultOf(published, bytes) !== null) {
    await download({
      url,
      path,
      signal,
      bytesMax: publishedFileBytesMax,
      ...(retryDelayMs === undefined ? {} : { retryDelayMs }),
      onProgress: (done, total) => onProgress?.(name, done, total),
    });
    bytes = await readFile(path);
    const fault = faultOf(published, bytes);
    if (fault !== null) {
      await rm(path);
      throw new FormatError(
        'checksum-mismatch',
        `${url}: ${fault}; the file was deleted: try again, or another mirror`,
      );
    }
  }
  const checkedBy =
    published.sha256 !== undefined ? 'sha256' : published.gitBlob !== undefined ? 'git-blob' : 'address';
  return { bytes, file: { path: name, url, bytes: bytes.length, sha256: sha256Of(bytes), checkedBy } };
}

/** What differs from the checksums that are known, in words; null when nothing does. */
function faultOf({ sha256, gitBlob }: Published, bytes: Uint8Array): string | null {
  const found = sha256Of(bytes);
  if (sha256 !== undefined && sha256 !== found) return `expected the SHA-256 ${sha256}, found ${found}`;
  if (gitBlob === undefined) return null;
  const blob = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  return blob === gitBlob ? null : `expected the git blob ${gitBlob}, found ${blob}`;
}

/** The text of a file, or of those files of an archive that the set is made of, by path in the repository. */
function* textsOf(bytes: Uint8Array, name: string, { archive }: Publication): Generator<[string, string]> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (path: string, content: Uint8Array): [string, string] => {
    try {
      return [path, decoder.decode(content)];
    } catch (cause) {
      throw new FormatError('bad-published-file', `${path}: expected text in UTF-8, found bytes that are not`, {
        cause,
      });
    }
  };
  if (archive === undefined) {
    yield decode(name, bytes);
    return;
  }
  let unpacked: Uint8Array;
  try {
    unpacked = gunzipSync(bytes, { maxOutputLength: 4 * publishedFileBytesMax });
  } catch (cause) {
    throw new FormatError('bad-archive', `the archive cannot be read: ${errorMessage(cause)}`, { cause });
  }
  for (const { path, bytes: content } of tarFiles(unpacked)) {
    // GitHub puts everything into a folder that is named for the repository and the commit.
    const inner = path.slice(path.indexOf('/') + 1);
    if (archive.folders.test(inner) && inner.endsWith(archive.ending)) yield decode(inner, content);
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

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
