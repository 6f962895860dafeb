/** Checkpoint folders on disk. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../core/errors.ts';
import type { BaseDescription } from './base-model.ts';
import { baseFileNames, describeFiles } from './load.ts';

/**
 * The files of a checkpoint folder by name; those that are not there are left out, since not every use needs every file.
 * @throws UsageError `no-base` when the folder has no `config.json`, or a file cannot be read.
 */
export async function readBaseFiles(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of baseFileNames) {
    const bytes = await readIfThere(join(folder, name));
    if (bytes !== null) files.set(name, bytes);
  }
  if (!files.has('config.json')) {
    throw new UsageError(
      'no-base',
      `${folder} is not a checkpoint folder: expected ${baseFileNames.slice(0, 3).join(', ')}, found no config.json`,
    );
  }
  return files;
}

async function readIfThere(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null;
    throw new UsageError('no-base', `cannot read ${path}`, { cause });
  }
}

/** What the base model in `folder` is. @throws as {@link readBaseFiles} and `describeFiles`. */
export async function describeBase(folder: string): Promise<BaseDescription> {
  return describeFiles(await readBaseFiles(folder));
}

/** Folder of the small pretrained base that ships with the package. */
export function pretrainedFolder(): string {
  return fileURLToPath(new URL('./pretrained/tributary-tiny-decoder', import.meta.url));
}
