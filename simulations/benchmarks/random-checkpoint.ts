/** A BERT checkpoint of a given size with random weights, written to a folder piece by piece: what the benchmark of loading reads. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { pretrainedFolder } from '../../shared/model/load.node.ts';

/** What {@link writeRandomCheckpoint} writes. */
export interface CheckpointRequest {
  readonly folder: string;
  /** Size of all weight files together, met as closely as whole layers allow. */
  readonly megabytes: number;
  /** Files to which the tensors go; 1 writes no index. */
  readonly shards: number;
  /** Type of the values in the file. */
  readonly type: 'F32' | 'F16' | 'BF16';
}

const megabyte = 2 ** 20;
/** From this size on the layers are those of BERT-base, below they are narrow, so that small files have several too. */
const wideMegabytesMin = 200;
const positions = 512;

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[];

/** Writes `config.json`, tokenizer and weights; returns the names of the weight files. */
export async function writeRandomCheckpoint({
  folder,
  megabytes,
  shards,
  type,
}: CheckpointRequest): Promise<readonly string[]> {
  const isWide = megabytes >= wideMegabytesMin;
  const width = isWide ? 768 : 64;
  const vocabulary = isWide ? 30_522 : 6144;
  const bytesPerValue = type === 'F32' ? 4 : 2;
  const outside = embeddingShapes(width, vocabulary);
  const layerBytes = bytesPerValue * valuesOf(layerShapes(0, width));
  const room = megabytes * megabyte - bytesPerValue * valuesOf(outside);
  const layers = Math.max(1, Math.round(room / layerBytes));
  const configuration = {
    model_type: 'bert',
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: width / 64,
    intermediate_size: 4 * width,
    max_position_embeddings: positions,
    vocab_size: vocabulary,
    type_vocab_size: 2,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-12,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configuration));
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(pretrainedFolder(), name), join(folder, name));
  const shapes = [...outside, ...Array.from({ length: layers }, (_, index) => layerShapes(index, width)).flat()];
  const perShard = Math.ceil(shapes.length / shards);
  const names: string[] = [];
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard * perShard < shapes.length; shard++) {
    const part = shapes.slice(shard * perShard, (shard + 1) * perShard);
    const name = shards === 1 ? 'model.safetensors' : `model-${shard + 1}-of-${shards}.safetensors`;
    await writeShard(join(folder, name), part, type, bytesPerValue);
    for (const [tensor] of part) weightMap[tensor] = name;
    names.push(name);
  }
  if (shards > 1)
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  return names;
}

async function writeShard(path: string, shapes: Shapes, dtype: string, bytesPerValue: number): Promise<void> {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, shape] of shapes) {
    const end = offset + bytesPerValue * valuesOf([[name, shape]]);
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = utf8(JSON.stringify(header));
  const start = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true);
  start.set(text, 8);
  const file = await open(path, 'w');
  try {
    await file.write(start);
    await writeValues(file, offset, bytesPerValue);
  } finally {
    await file.close();
  }
}

/** The same small random values again and again: what they are does not matter, as long as nothing can leave them out. */
async function writeValues(file: FileHandle, byteCount: number, bytesPerValue: number): Promise<void> {
  const random = seededRandom(1, 'random-checkpoint');
  const values = Float32Array.from({ length: megabyte / 4 }, () => 0.02 * random.normal());
  const bits = new Uint32Array(values.buffer);
  // The upper halves are small numbers as bfloat16; as float16 they are other numbers, just as finite for exponents this small.
  const block = bytesPerValue === 4 ? bits : Uint16Array.from(bits, (word) => (word >>> 16) & 0xbfff);
  const bytes = new Uint8Array(block.buffer);
  for (let done = 0; done < byteCount; done += bytes.length)
    await file.write(bytes.subarray(0, Math.min(bytes.length, byteCount - done)));
}

function valuesOf(shapes: Shapes): number {
  return shapes.reduce((sum, [, shape]) => sum + shape.reduce((product, extent) => product * extent, 1), 0);
}

function embeddingShapes(width: number, vocabulary: number): Shapes {
  return [
    ['embeddings.word_embeddings.weight', [vocabulary, width]],
    ['embeddings.position_embeddings.weight', [positions, width]],
    ['embeddings.token_type_embeddings.weight', [2, width]],
    ['embeddings.LayerNorm.weight', [width]],
    ['embeddings.LayerNorm.bias', [width]],
  ];
}

function layerShapes(layerIndex: number, width: number): Shapes {
  const stem = `encoder.layer.${layerIndex}`;
  const linear = (name: string, outSize: number, inSize: number): Shapes => [
    [`${stem}.${name}.weight`, [outSize, inSize]],
    [`${stem}.${name}.bias`, [outSize]],
  ];
  const norm = (name: string): Shapes => [
    [`${stem}.${name}.weight`, [width]],
    [`${stem}.${name}.bias`, [width]],
  ];
  return [
    ...linear('attention.self.query', width, width),
    ...linear('attention.self.key', width, width),
    ...linear('attention.self.value', width, width),
    ...linear('attention.output.dense', width, width),
    ...norm('attention.output.LayerNorm'),
    ...linear('intermediate.dense', 4 * width, width),
    ...linear('output.dense', width, 4 * width),
    ...norm('output.LayerNorm'),
  ];
}
