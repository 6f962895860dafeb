/** Which files a path names: one file, a folder of shards, or a pattern such as `train-*.parquet`; several in the order of their names. */
import type { Dirent } from 'node:fs';
import { glob, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorMessage, UsageError } from '../core/errors.ts';

/** How the records of a file are laid out. */
export type DataFormat = 'jsonl' | 'json' | 'csv' | 'tsv' | 'parquet';

const endings: Readonly<Record<string, DataFormat>> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.parquet': 'parquet',
};

/** Names of the parts into which data sets are usually split, at the beginning of a file's name or as a word of it. */
const splitNames = /(?:^|[-_.])(train|training|validation|valid|val|dev|test|eval|evaluation)(?=[-_.\d]|$)/;

/** The format by the ending of a file's name, with or without `.gz` after it; null for any other. */
export function formatOf(path: string): DataFormat | null {
  const name = path.toLowerCase().replace(/\.gz$/, '');
  const ending = /\.[a-z]+$/.exec(name)?.[0];
  const format = ending === undefined ? undefined : endings[ending];
  return format === undefined || (format === 'parquet' && name !== path.toLowerCase()) ? null : format;
}

/**
 * The files that `path` names, in the order of their names.
 * @throws UsageError when there are none, when a folder holds several formats, or several splits (which would mix test rows into training).
 */
export async function shardsOf(path: string): Promise<string[]> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => cause);
  if (!(found instanceof Error)) return found.isDirectory() ? folderShards(path) : [path];
  if (!/[*?[{]/.test(path)) {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(found)}`, { cause: found });
  }
  const files: string[] = [];
  for await (const match of glob(path)) files.push(match);
  if (files.length === 0) throw new UsageError('no-files', `no file matches ${path}`);
  return files.sort(byName);
}

async function folderShards(folder: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(folder, { withFileTypes: true });
  const names = entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.') && formatOf(entry.name) !== null)
    .map(({ name }) => name);
  const formats = new Set(names.map(formatOf));
  // Beside data in another format, JSON files describe it (dataset_infos.json, state.json).
  if (formats.size > 1) formats.delete('json');
  const [format] = formats;
  if (format === undefined) {
    throw new UsageError('no-files', `${folder}: expected files that end in ${endingsText}, found none`);
  }
  if (formats.size > 1) {
    throw new UsageError(
      'mixed-formats',
      `${folder}: expected files of one format, found ${[...formats].join(' and ')}; name them with a pattern, such as "${join(folder, '*.parquet')}"`,
    );
  }
  const files = names.filter((name) => formatOf(name) === format).sort(byName);
  const splits = new Set(files.map((name) => splitNames.exec(basename(name).toLowerCase())?.[1] ?? ''));
  if (splits.size > 1) {
    const [first = ''] = [...splits].filter((name) => name !== '');
    throw new UsageError(
      'several-splits',
      `${folder}: holds several splits (${[...splits].map((name) => name || 'others').join(', ')}), which must not be mixed; name one with a pattern, such as "${join(folder, `${first}*`)}"`,
    );
  }
  return files.map((name) => join(folder, name));
}

/** The endings of data files, for messages. */
export const endingsText = `${Object.keys(endings).join(', ')} (text also with .gz after it)`;

function byName(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
