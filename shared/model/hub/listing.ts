/** Which files of a repository make a base, and how each is recognised: nothing else is ever fetched. */
import { FormatError } from '../../core/errors.ts';
import { settingsNames } from '../load.ts';
import { indexName, shardNamesOf, weightsName } from '../shards.ts';
import { refuseWithoutWeights } from '../unsafe-files.ts';

/** A file as a hub lists it. */
export interface ListedFile {
  readonly path: string;
  readonly type: string;
  /** Bytes; of the content, also where the repository holds a pointer to it. */
  readonly size: number;
  /** SHA-1 of the file as a Git object. */
  readonly oid?: string;
  /** Of large files, which are not Git objects. */
  readonly lfs?: { readonly oid: string; readonly size: number };
}

/** A file to fetch and what it must turn out to be. */
export interface WantedFile {
  readonly name: string;
  readonly size: number;
  /** SHA-256 of the content, or the SHA-1 that Git gives it. */
  readonly checksum: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

/** The model card, which names the licence. Longer ones are left where they are. */
const cardName = 'README.md';
const cardBytesMax = 1024 * 1024;

/**
 * Settings, tokenizer, the card, and the single file of weights or their index.
 * @throws FormatError `unsafe-file` or `missing-file` where the repository holds no such weights, or no `config.json`.
 */
export function wantedFirst(listed: readonly ListedFile[], where: string): readonly WantedFile[] {
  const names = listed.filter(({ type }) => type === 'file').map(({ path }) => path);
  if (!names.includes('config.json')) {
    throw new FormatError(
      'missing-file',
      `${where} is no base model: expected config.json, found ${names.join(', ') || 'no file'}`,
    );
  }
  const weights = [weightsName, indexName].find((name) => names.includes(name));
  if (weights === undefined) return refuseWithoutWeights(names, where);
  return [...settingsNames, cardName, weights]
    .filter((name) => names.includes(name))
    .map((name) => wanted(name, listed, where))
    .filter(({ name, size }) => name !== cardName || size <= cardBytesMax);
}

/** The shards that an index lists. @throws FormatError `bad-index`, also where the repository lacks one. */
export function wantedShards(index: Uint8Array, listed: readonly ListedFile[], where: string): readonly WantedFile[] {
  return shardNamesOf(index).map((name) => {
    if (listed.some(({ path, type }) => path === name && type === 'file')) return wanted(name, listed, where);
    throw new FormatError('bad-index', `${indexName} names the shard ${name}, which ${where} does not have`);
  });
}

function wanted(name: string, listed: readonly ListedFile[], where: string): WantedFile {
  const { lfs, oid, size } = listed.find(({ path }) => path === name)!;
  if (lfs !== undefined && /^[0-9a-f]{64}$/.test(lfs.oid))
    return { name, size: lfs.size, checksum: { kind: 'sha256', hex: lfs.oid } };
  if (lfs === undefined && oid !== undefined && /^[0-9a-f]{40}$/.test(oid))
    return { name, size, checksum: { kind: 'git', hex: oid } };
  throw new FormatError('hub-answer', `the hub gives no checksum for ${name} of ${where}; it cannot be trusted`);
}
