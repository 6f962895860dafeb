/** Writes the weights of a checkpoint tensor by tensor, into one file or into shards with an index, as Transformers names and fills them. */
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { concatBytes, utf8 } from '../../core/bytes.ts';
import { type SafetensorsType, valueBytes } from '../../model/safetensors-header.ts';
import { indexName, weightsName } from '../../model/shards.ts';

/** A tensor that will be written: `pieces` are its bytes in order and are asked for when it is its turn. */
export interface OutgoingTensor {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly pieces: () => Iterable<Uint8Array>;
}

/** Bytes of a tensor. */
export function byteCountOf({ dtype, shape }: Pick<OutgoingTensor, 'dtype' | 'shape'>): number {
  return shape.reduce((product, extent) => product * extent, valueBytes[dtype]);
}

function headerOf(tensors: readonly OutgoingTensor[]): Uint8Array {
  let offset = 0;
  const entries = tensors.map((tensor) => {
    const end = offset + byteCountOf(tensor);
    const entry = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
    return [tensor.name, entry] as const;
  });
  const text = utf8(JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) }));
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  padded.set(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return concatBytes(length, padded);
}

/** Tensors by file, in order: a file takes as many as it holds within the limit, and at least one. */
function shardsOf(tensors: readonly OutgoingTensor[], shardBytesMax: number): OutgoingTensor[][] {
  const shards: OutgoingTensor[][] = [];
  let free = 0;
  for (const tensor of tensors) {
    const size = byteCountOf(tensor);
    if (shards.length === 0 || size > free) {
      shards.push([]);
      free = shardBytesMax;
    }
    shards.at(-1)!.push(tensor);
    free -= size;
  }
  return shards;
}

/** What {@link writeWeights} does. */
export interface WeightsRequest {
  readonly folder: string;
  readonly tensors: readonly OutgoingTensor[];
  /** Largest file, but for its header. */
  readonly shardBytesMax: number;
  /** Called before every tensor; may throw to stop. */
  readonly onTensor?: (name: string) => void;
}

/** Writes all tensors; returns the names of the files, the index last. Memory: one piece. */
export async function writeWeights({ folder, tensors, shardBytesMax, onTensor }: WeightsRequest): Promise<string[]> {
  const shards = shardsOf(tensors, shardBytesMax);
  const digits = (value: number): string => String(value).padStart(5, '0');
  const names = shards.map((_, index) =>
    shards.length === 1 ? weightsName : `model-${digits(index + 1)}-of-${digits(shards.length)}.safetensors`,
  );
  for (const [index, shard] of shards.entries()) {
    const file = await open(join(folder, names[index]!), 'w');
    try {
      await file.appendFile(headerOf(shard));
      for (const tensor of shard) {
        onTensor?.(tensor.name);
        for (const piece of tensor.pieces()) await file.appendFile(piece);
      }
    } finally {
      await file.close();
    }
  }
  if (shards.length === 1) return names;
  const placed = shards.flatMap((shard, index) => shard.map(({ name }) => [name, names[index]!] as const));
  const totalSize = tensors.reduce((total, tensor) => total + byteCountOf(tensor), 0);
  const index = { metadata: { total_size: totalSize }, weight_map: Object.fromEntries(placed) };
  await writeFile(join(folder, indexName), `${JSON.stringify(index, null, 2)}\n`);
  return [...names, indexName];
}
