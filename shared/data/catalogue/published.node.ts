/**
 * Fetches the published files of a set and compares them with what is known of them: a checksum of the catalogue, or the object ids that the
 * commit stands for, which are asked for first.
 */
import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { errorMessage, FormatError, UsageError } from '../../core/errors.ts';
import { publishedFileBytesMax } from '../../core/limits.ts';
import { download } from './download.node.ts';
import type { Publication, PublishedFile } from './entry.ts';
import { blobIdOf } from './git-pack.node.ts';
import { type CommitFiles, fetchCommitFiles } from './git-tree.node.ts';
import { tarFiles } from './tar.ts';

/** Where published files come from when no mirror is named. */
const origins = {
  files: 'https://raw.githubusercontent.com',
  archives: 'https://codeload.github.com',
  objects: 'https://github.com',
} as const;

/** How files are fetched. */
export interface FetchOptions {
  /** A server that has the same paths as GitHub's, in place of it. */
  readonly mirror?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: (file: string, done: number, total: number | null) => void;
  readonly retryDelayMs?: number;
}

/**
 * A published file as it was fetched. `checkedBy` says what its content was compared with: a checksum of the catalogue, or the object ids that the
 * commit stands for (`commit`); `address` is no comparison.
 */
export interface FetchedFile {
  readonly path: string;
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly checkedBy: 'sha256' | 'git-blob' | 'commit' | 'address';
}

/** What {@link fetchPublished} gives back: the files as they came, and the texts that rows are made of, by path in the repository. */
export interface FetchedFiles {
  readonly fetched: readonly FetchedFile[];
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * Brings the files of `publication` into `folder`, as far as they are not there.
 * @throws TransportError `download-failed`; FormatError `checksum-mismatch`, `missing-file` and others of broken files; UsageError `bad-mirror`.
 */
export async function fetchPublished(
  publication: Publication,
  folder: string,
  options: FetchOptions,
): Promise<FetchedFiles> {
  const commitFiles = await commitFilesOf(publication, options);
  const fetched: FetchedFile[] = [];
  const texts = new Map<string, string>();
  for (const published of publishedFiles(publication, commitFiles, options.mirror)) {
    const { file, bytes } = await fetchFile(published, join(folder, published.name), options);
    fetched.push(file);
    for (const [path, text] of textsOf(bytes, published.name, publication, commitFiles)) texts.set(path, text);
  }
  return { fetched, texts };
}

/** The ids of the files of the commit; null when they are not needed, or the server (a mirror) does not speak git's protocol. */
async function commitFilesOf(
  { repository, commit, files }: Publication,
  { mirror, signal }: FetchOptions,
): Promise<CommitFiles | null> {
  if (files.length > 0 && files.every(({ sha256, gitBlob }) => sha256 !== undefined || gitBlob !== undefined))
    return null;
  const url = `${mirror === undefined ? origins.objects : mirrorOf(mirror)}/${repository}.git`;
  return fetchCommitFiles({ url, commit, signal });
}

interface Published extends Omit<PublishedFile, 'path'> {
  /** Path in the repository, or the name of its archive. */
  readonly name: string;
  readonly url: string;
  readonly checkedBy: FetchedFile['checkedBy'];
}

function publishedFiles(
  { repository, commit, files, archive }: Publication,
  commitFiles: CommitFiles | null,
  mirror: string | undefined,
): Published[] {
  const from = (origin: string): string => (mirror === undefined ? origin : mirrorOf(mirror));
  const byCommit = commitFiles === null ? 'address' : 'commit';
  if (archive !== undefined) {
    const url = `${from(origins.archives)}/${repository}/tar.gz/${commit}`;
    return [{ name: 'archive.tar.gz', url, checkedBy: byCommit }];
  }
  return files.map(({ path, ...checksums }) => {
    const url = `${from(origins.files)}/${repository}/${commit}/${path}`;
    if (checksums.sha256 !== undefined) return { name: path, url, ...checksums, checkedBy: 'sha256' };
    if (checksums.gitBlob !== undefined) return { name: path, url, ...checksums, checkedBy: 'git-blob' };
    if (commitFiles === null) return { name: path, url, checkedBy: byCommit };
    const gitBlob = commitFiles.idOf(path);
    if (gitBlob === null)
      throw new FormatError('missing-file', `the commit ${commit} of ${repository} has no file ${path}`);
    return { name: path, url, gitBlob, checkedBy: byCommit };
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
  { signal, onProgress, retryDelayMs }: FetchOptions,
): Promise<{ readonly file: FetchedFile; readonly bytes: Uint8Array }> {
  const { name, url, checkedBy } = published;
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
  return { bytes, file: { path: name, url, bytes: bytes.length, sha256: sha256Of(bytes), checkedBy } };
}

/** What differs from the checksums that are known, in words; null when nothing does. */
function faultOf({ sha256, gitBlob }: Published, bytes: Uint8Array): string | null {
  const found = sha256Of(bytes);
  if (sha256 !== undefined && sha256 !== found) return `expected the SHA-256 ${sha256}, found ${found}`;
  if (gitBlob === undefined) return null;
  const blob = blobIdOf(bytes);
  return blob === gitBlob ? null : `expected the git blob ${gitBlob}, found ${blob}`;
}

/**
 * The text of a file, or of those files of an archive that the set is made of, by path in the repository.
 * @throws FormatError when a file of an archive is not the one of the commit, or one of the commit's is not in it.
 */
function* textsOf(
  bytes: Uint8Array,
  name: string,
  { archive, commit }: Publication,
  commitFiles: CommitFiles | null,
): Generator<[string, string]> {
  if (archive === undefined) {
    yield [name, decodeText(name, bytes)];
    return;
  }
  const isWanted = (path: string): boolean => archive.folders.test(path) && path.endsWith(archive.ending);
  const missing = new Set(commitFiles === null ? [] : [...commitFiles.paths()].filter(isWanted));
  for (const { path, bytes: content } of tarFiles(unpack(bytes))) {
    // GitHub puts everything into a folder that is named for the repository and the commit.
    const inner = path.slice(path.indexOf('/') + 1);
    if (!isWanted(inner)) continue;
    if (commitFiles !== null && commitFiles.idOf(inner) !== blobIdOf(content)) {
      throw new FormatError('checksum-mismatch', `${inner} in the archive is not the file of commit ${commit}`);
    }
    missing.delete(inner);
    yield [inner, decodeText(inner, content)];
  }
  const [first] = missing;
  if (first === undefined) return;
  throw new FormatError('missing-file', `${missing.size} files of commit ${commit} are not in the archive: ${first}`);
}

function unpack(archive: Uint8Array): Uint8Array {
  try {
    return gunzipSync(archive, { maxOutputLength: 4 * publishedFileBytesMax });
  } catch (cause) {
    throw new FormatError('bad-archive', `the archive cannot be read: ${errorMessage(cause)}`, { cause });
  }
}

function decodeText(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError('bad-published-file', `${path}: expected text in UTF-8, found bytes that are not`, { cause });
  }
}

/** SHA-256 in hex. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
