/** Checkpoints for tests, from any tensors: in one file or in shards, whole or broken. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concatBytes, utf8 } from '../../../shared/core/bytes.ts';
import { readSafetensors, type SafetensorsEntry, tensorValues } from '../../../shared/model/safetensors.ts';

/** Tensors by name. */
export type Tensors = Map<string, { shape: readonly number[]; values: Float32Array }>;

/** The tensors of files in memory. */
export function tensorsOf(files: ReadonlyMap<string, Uint8Array>): Tensors {
  const { tensors } = readSafetensors(files.get('model.safetensors')!, 'model.safetensors');
  return new Map([...tensors].map(([name, entry]) => [name, { shape: entry.shape, values: tensorValues(entry) }]));
}

/** The same files with their tensors dealt out to `shardCount` shards in turn, as they are, and the index. */
export function sharded(files: ReadonlyMap<string, Uint8Array>, shardCount: number): Map<string, Uint8Array> {
  const { 'model.safetensors': weights, ...rest } = Object.fromEntries(files);
  const shards: [string, SafetensorsEntry][][] = Array.from({ length: shardCount }, () => []);
  const weightMap: Record<string, string> = {};
  const nameOf = (index: number) => `model-0000${index + 1}-of-0000${shardCount}.safetensors`;
  for (const [index, named] of [...readSafetensors(weights!, 'model.safetensors').tensors].entries()) {
    shards[index % shardCount]!.push(named);
    weightMap[named[0]] = nameOf(index % shardCount);
  }
  const result = new Map(Object.entries(rest));
  for (const [index, shard] of shards.entries()) result.set(nameOf(index), fileOf(shard));
  return result.set('model.safetensors.index.json', utf8(JSON.stringify({ metadata: {}, weight_map: weightMap })));
}

function fileOf(tensors: readonly [string, SafetensorsEntry][]): Uint8Array {
  let end = 0;
  const header = tensors.map(([name, { dtype, shape, bytes }]) => {
    end += bytes.length;
    return [name, { dtype, shape, data_offsets: [end - bytes.length, end] }] as const;
  });
  const text = utf8(JSON.stringify(Object.fromEntries(header)));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return concatBytes(length, text, ...tensors.map(([, { bytes }]) => bytes));
}

/** Writes files to a new folder, which is deleted when `use` is done. */
export async function inFolder<Result>(
  files: ReadonlyMap<string, Uint8Array>,
  use: (folder: string) => Promise<Result> | Result,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-base-'));
  try {
    for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
