/**
 * Safetensors files in memory (Hugging Face): eight bytes of header length, a JSON header, tensors in little-endian row-major order. Whole
 * checkpoints are read tensor by tensor from where they lie (`safetensors-header.ts`, `stored-tensor.ts`).
 */
import { concatBytes, float32Of, utf8 } from '../core/bytes.ts';
import { FormatError } from '../core/errors.ts';
import { bytesInMemory } from './byte-source.ts';
import { readHeader, type SafetensorsType } from './safetensors-header.ts';
import { fillValues } from './stored-tensor.ts';

/** One tensor of a file; `bytes` is a view of the file. */
export interface SafetensorsEntry {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A file's tensors by name in the order of their bytes, and its metadata. */
export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a file without copying its tensors.
 * @param source the file's name, for messages.
 * @throws FormatError as {@link readHeader}.
 */
export function readSafetensors(bytes: Uint8Array, source: string): SafetensorsFile {
  const { tensors, metadata } = readHeader(bytesInMemory(bytes), source);
  const entries = [...tensors].map(([name, { dtype, shape, offset, byteCount }]) => {
    return [name, { dtype, shape, bytes: bytes.subarray(offset, offset + byteCount) }] as const;
  });
  return { tensors: new Map(entries), metadata };
}

/**
 * Values as float32: a view where the bytes are aligned float32, else a copy. Bfloat16 and float16 convert exactly.
 * @throws FormatError `bad-tensor-type` for any type but F32, F16 and BF16.
 */
export function tensorValues({ dtype, shape, bytes }: SafetensorsEntry): Float32Array {
  if (dtype === 'F32' && bytes.byteOffset % 4 === 0) return float32Of(bytes);
  const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  fillValues({ dtype, shape, source: bytesInMemory(bytes), offset: 0, byteCount: bytes.length }, values);
  return values;
}

/** A file of float32 tensors in the order of the map; the data begins at a multiple of eight bytes. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of tensors) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (size !== values.length)
      throw new FormatError(
        'bad-tensor',
        `tensor ${name} of shape [${shape.join(', ')}] needs ${size} values, found ${values.length}`,
      );
    if (name === '__metadata__') throw new FormatError('bad-tensor', 'a tensor cannot be named __metadata__');
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    offset += values.byteLength;
  }
  const text = utf8(JSON.stringify(header));
  const paddedLength = Math.ceil(text.length / 8) * 8;
  const start = new Uint8Array(8 + paddedLength).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(paddedLength), true);
  start.set(text, 8);
  return concatBytes(start, ...parts);
}
