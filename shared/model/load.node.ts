/**
 * Checkpoint folders on disk. Weights go from the file to where they compute, piece by piece, and a second thread hashes them meanwhile: a
 * base needs its own size in memory and hardly more.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from '../core/assert.ts';
import { errorMessage, UsageError } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { BaseDescription } from './base-model.ts';
import { type ByteFile, openByteFile } from './byte-file.node.ts';
import { type ByteSource, readRange, sourceOf } from './byte-source.ts';
import { hashParts } from './digest.ts';
import { type Hashing, hashInThread } from './digest-thread.node.ts';
import {
  type BaseFiles,
  describe,
  type ExaminedBase,
  examineBase,
  type LoadedBase,
  type LoadSettings,
  settingsNames,
  tokenizerOf,
} from './load.ts';
import { type BaseContent, weightFilesOf } from './shards.ts';
import type { Tokenizer } from './tokenizer.ts';
import { unreadFormatOf } from './unsafe-files.ts';

/** Bytes from which on a thread of its own pays: it takes about 40 ms to start, in which as many megabytes are hashed. */
const threadBytesMin = 64 * 1024 * 1024;

/**
 * Puts the base in `folder` on the current back end.
 * @throws UsageError `no-base` when there is no checkpoint or it cannot be read; FormatError that names the file and what is wrong with it.
 */
export async function loadBase(folder: string, { frozenWeights }: LoadSettings = {}): Promise<LoadedBase> {
  return withFolder(folder, async (content) => {
    const examined = examineBase(content);
    const tokenizer = tokenizerOf(examined);
    const hashing = startHashing(examined.digestParts);
    try {
      // The digest is filled in before anyone sees the model.
      const description: BaseDescription & { digest: Digest } = { ...examined.facts, digest: '' as Digest };
      const model = examined.read.build(examined.tensors, description, frozenWeights);
      assert(model.description === description, 'a model carries the description that it was built with');
      try {
        description.digest = await hashing.digest;
        content.checkUnchanged();
      } catch (thrown) {
        model.dispose();
        throw thrown;
      }
      return { model, tokenizer };
    } finally {
      await hashing.stop();
    }
  });
}

/** What the base model in `folder` is; reads every byte, a piece at a time. @throws as {@link loadBase}. */
export async function describeBase(folder: string): Promise<BaseDescription> {
  return withFolder(folder, async (content) => describe(examineBase(content)));
}

/** The tokenizer of the base in `folder`; reads no weights. @throws as {@link loadBase}. */
export async function readTokenizer(folder: string): Promise<Tokenizer> {
  return withFolder(folder, async (content) => tokenizerOf(examineBase(content)));
}

/**
 * The files of a checkpoint folder by name, open: what a coordinator serves. Files that a base has no use for are left out, and so are those
 * that are not there, since not every use needs every file.
 * @throws UsageError `no-base`; FormatError for weights that are not read.
 */
export function openBaseFiles(folder: string): { readonly files: BaseFiles; readonly close: () => void } {
  const content = openFolder(folder);
  try {
    const names = [settingsNames[0], ...weightFilesOf(content), ...settingsNames.slice(1)];
    const there = names.filter((name) => content.names.includes(name));
    return { files: new Map(there.map((name) => [name, content.open(name)])), close: content.close };
  } catch (thrown) {
    content.close();
    throw thrown;
  }
}

/** The same files in memory. @throws as {@link openBaseFiles}. */
export async function readBaseFiles(folder: string): Promise<Map<string, Uint8Array>> {
  const { files, close } = openBaseFiles(folder);
  try {
    const read = (content: Uint8Array | ByteSource): Uint8Array =>
      readRange(sourceOf(content), 0, sourceOf(content).size);
    return new Map([...files].map(([name, content]) => [name, read(content)]));
  } finally {
    close();
  }
}

/** Folder of the small pretrained base that ships with the package. */
export function pretrainedFolder(): string {
  return fileURLToPath(new URL('./pretrained/tributary-tiny-decoder', import.meta.url));
}

interface FolderContent extends BaseContent {
  /** @throws FormatError `file-changed`. */
  checkUnchanged(): void;
  close(): void;
}

/** Opens a checkpoint folder for `use` and closes what was opened. @throws UsageError `no-base`. */
export async function withFolder<Result>(
  folder: string,
  use: (content: FolderContent) => Promise<Result>,
): Promise<Result> {
  const content = openFolder(folder);
  return use(content).finally(content.close);
}

function openFolder(folder: string): FolderContent {
  const names = namesIn(folder);
  const files = new Map<string, ByteFile>();
  const open = (name: string): ByteFile => {
    const file = files.get(name) ?? openByteFile(join(folder, name));
    files.set(name, file);
    return file;
  };
  const checkUnchanged = (): void => {
    for (const file of files.values()) file.checkUnchanged();
  };
  const close = (): void => {
    for (const file of files.values()) file.close();
    files.clear();
  };
  return { where: folder, names, open, checkUnchanged, close };
}

function namesIn(folder: string): string[] {
  const fail = (problem: string, cause?: unknown): never => {
    throw new UsageError('no-base', `${folder} is not a checkpoint folder: ${problem}`, { cause });
  };
  const needed = 'expected config.json, model.safetensors, tokenizer.json';
  let names: string[];
  try {
    if (!statSync(folder).isDirectory()) {
      const format = unreadFormatOf(folder);
      return fail(format === null ? `${needed} in a folder, found a file` : `it is ${format}`);
    }
    names = readdirSync(folder);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    return fail(errorMessage(cause), cause);
  }
  if (!names.includes('config.json')) return fail(`${needed}, found no config.json`);
  return names.sort();
}

/** Hashes in a thread of its own where there is much to hash, otherwise here. */
function startHashing(parts: ExaminedBase['digestParts']): Hashing {
  const size = parts.reduce((sum, part) => sum + (part instanceof Uint8Array ? part.length : part.byteCount), 0);
  if (size >= threadBytesMin) return hashInThread(parts);
  return { digest: Promise.resolve(hashParts(parts)), stop: async () => undefined };
}
