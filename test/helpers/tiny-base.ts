/** A random GPT-2 checkpoint with one layer and a tokenizer of bytes: small enough that a federation over sockets takes seconds. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { concatBytes, utf8 } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';

const width = 16;
const feedForward = 32;
const positions = 32;
const specialTokens = ['<s>', '<pad>', '</s>', '<unk>'];

/** Characters that byte-level tokenizers write for the 256 bytes, in byte order (Radford 2019, section 2.2, of its published code). */
function byteCharacters(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

function tokenizerJson(): string {
  const vocabulary = Object.fromEntries([...specialTokens, ...byteCharacters()].map((token, index) => [token, index]));
  const added = specialTokens.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true };
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: vocabulary,
      merges: [],
    },
  });
}

function safetensors(tensors: ReadonlyMap<string, { shape: number[]; values: Float32Array }>): Uint8Array {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { shape, values }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const headerBytes = utf8(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(headerBytes.length), true);
  return concatBytes(length, headerBytes, ...[...tensors.values()].map(({ values }) => new Uint8Array(values.buffer)));
}

/** Files of the checkpoint by name. */
export function tinyBaseFiles(seed = 1): Map<string, Uint8Array> {
  const random = seededRandom(seed, 'tiny-base');
  const vocabularySize = specialTokens.length + 256;
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, shape: number[], fill?: number): void => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const stream = random.fork(name);
    tensors.set(name, { shape, values: Float32Array.from({ length: size }, () => fill ?? 0.2 * stream.normal()) });
  };
  add('transformer.wte.weight', [vocabularySize, width]);
  add('transformer.wpe.weight', [positions, width]);
  for (const norm of ['h.0.ln_1', 'h.0.ln_2', 'ln_f']) {
    add(`transformer.${norm}.weight`, [width], 1);
    add(`transformer.${norm}.bias`, [width], 0);
  }
  const linear: [string, number, number][] = [
    ['attn.c_attn', width, 3 * width],
    ['attn.c_proj', width, width],
    ['mlp.c_fc', width, feedForward],
    ['mlp.c_proj', feedForward, width],
  ];
  for (const [name, inSize, outSize] of linear) {
    add(`transformer.h.0.${name}.weight`, [inSize, outSize]);
    add(`transformer.h.0.${name}.bias`, [outSize], 0);
  }
  const config = {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    activation_function: 'gelu_new',
    n_embd: width,
    n_layer: 1,
    n_head: 2,
    n_inner: feedForward,
    n_positions: positions,
    n_ctx: positions,
    vocab_size: vocabularySize,
    layer_norm_epsilon: 1e-5,
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
    bos_token_id: 0,
    pad_token_id: 1,
    eos_token_id: 2,
    tie_word_embeddings: true,
    torch_dtype: 'float32',
  };
  return new Map([
    ['config.json', utf8(JSON.stringify(config))],
    ['model.safetensors', safetensors(tensors)],
    ['tokenizer.json', utf8(tokenizerJson())],
  ]);
}

/** Writes the checkpoint into `folder`, made if it is not there, and returns the folder. */
export async function writeTinyBase(folder: string, seed = 1): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of tinyBaseFiles(seed)) await writeFile(join(folder, name), bytes);
  return folder;
}
