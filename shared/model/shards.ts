/**
 * Where a checkpoint's weights lie: in `model.safetensors`, or in several files that `model.safetensors.index.json` lists. The index must say
 * exactly what the shards hold. Its `metadata.total_size` is not looked at: published ones count buffers that were never written.
 */
import { FormatError } from '../core/errors.ts';
import { settingsFileBytesMax } from '../core/limits.ts';
import type { ByteSource } from './byte-source.ts';
import { readRange } from './byte-source.ts';
import { parseJsonObject } from './configuration.ts';
import { readHeader, type StoredTensor } from './safetensors-header.ts';
import { refuseWithoutWeights } from './unsafe-files.ts';

/** The file that holds all weights of a checkpoint that is not sharded. */
export const weightsName = 'model.safetensors';
/** The file that lists the shards of one that is. */
export const indexName = 'model.safetensors.index.json';

/** Names of shards: no folder, nothing hidden, no other format. */
const shardPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$/;

/** Files of a checkpoint. */
export interface BaseContent {
  /** Where they are, for messages. */
  readonly where: string;
  readonly names: readonly string[];
  /** The bytes of one of `names`. @throws FederationError when they cannot be read. */
  open(name: string): ByteSource;
}

/**
 * Names of the shards that an index lists, sorted.
 * @throws FormatError `bad-index`, also for names that lead out of the folder; `bad-json`.
 */
export function shardNamesOf(index: Uint8Array): string[] {
  return [...new Set(weightMapOf(index).values())].sort();
}

/**
 * Names of the files that hold the weights, the index among them. Where there are both, the single file counts, as in the published loader.
 * @throws FormatError `unsafe-file`, `missing-file`, `bad-index`.
 */
export function weightFilesOf(content: BaseContent): string[] {
  const { names, where } = content;
  if (names.includes(weightsName)) return [weightsName];
  if (!names.includes(indexName)) return refuseWithoutWeights(names, where);
  const shards = shardNamesOf(readSmallFile(content, indexName));
  const absent = shards.find((shard) => !names.includes(shard));
  if (absent !== undefined) throw badIndex(`names the shard ${absent}, which is not there`);
  return [indexName, ...shards];
}

/**
 * All tensors of a checkpoint by their full names.
 * @throws FormatError `bad-safetensors`, `bad-index`, and as {@link weightFilesOf}.
 */
export function readWeights(content: BaseContent): ReadonlyMap<string, StoredTensor> {
  const files = weightFilesOf(content);
  if (files[0] === weightsName) return readHeader(content.open(weightsName), weightsName).tensors;
  const weightMap = weightMapOf(readSmallFile(content, indexName));
  const tensors = new Map<string, StoredTensor>();
  const holders = new Map<string, string>();
  for (const shard of files.slice(1)) {
    for (const [name, tensor] of readHeader(content.open(shard), shard).tensors) {
      const holder = holders.get(name);
      if (holder !== undefined) throw badIndex(`does not stand alone: tensor ${name} is in ${holder} and in ${shard}`);
      holders.set(name, shard);
      tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of weightMap) {
    const holder = holders.get(name);
    if (holder !== shard) throw badIndex(`says that ${name} is in ${shard}, which ${elsewhere(holder)}`);
  }
  for (const [name, shard] of holders) {
    if (!weightMap.has(name)) throw badIndex(`does not list tensor ${name}, which is in ${shard}`);
  }
  return tensors;
}

function elsewhere(holder: string | undefined): string {
  return holder === undefined ? 'lacks it' : `lacks it: it is in ${holder}`;
}

function weightMapOf(index: Uint8Array): ReadonlyMap<string, string> {
  const { weight_map: weightMap } = parseJsonObject(index, indexName);
  if (typeof weightMap !== 'object' || weightMap === null || Array.isArray(weightMap))
    throw badIndex('has no object weight_map');
  const entries = Object.entries(weightMap as Record<string, unknown>);
  if (entries.length === 0) throw badIndex('lists no tensor');
  return new Map(
    entries.map(([name, shard]) => {
      if (typeof shard === 'string' && shardPattern.test(shard)) return [name, shard] as const;
      const rule = 'expected the plain name of a .safetensors file beside the index';
      throw badIndex(`puts ${name} into ${JSON.stringify(shard)}, ${rule}`);
    }),
  );
}

function badIndex(problem: string): FormatError {
  return new FormatError('bad-index', `${indexName} ${problem}`);
}

/** One of the small files of a checkpoint, whole. @throws FormatError `file-too-large`. */
export function readSmallFile(content: BaseContent, name: string): Uint8Array {
  const source = content.open(name);
  if (source.size <= settingsFileBytesMax) return readRange(source, 0, source.size);
  throw new FormatError(
    'file-too-large',
    `${name} has ${source.size} bytes, expected at most ${settingsFileBytesMax}; it cannot be what its name says`,
  );
}
