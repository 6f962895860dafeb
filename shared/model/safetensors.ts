/**
 * The safetensors file format (Hugging Face): eight bytes of header length, a JSON header, tensors in little-endian row-major order.
 * Reading is strict: a file is either exactly what the format allows, down to its last byte, or a {@link FormatError}.
 */
import { concatBytes, utf8 } from '../core/bytes.ts';
import { FormatError } from '../core/errors.ts';
import { safetensorsHeaderBytesMax } from '../core/limits.ts';
import { float32OfBfloat16, float32OfFloat16 } from './half-floats.ts';
import { findDuplicateKey } from './json-keys.ts';

/** Bytes of one value by type name. Newer types (below one byte, complex) are refused. */
const valueBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Type of a tensor's values. */
export type SafetensorsType = keyof typeof valueBytes;

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
 * @throws FormatError `bad-safetensors` when anything is not as the format says: header, types, shapes, sizes, gaps, overlaps, rest.
 */
export function readSafetensors(bytes: Uint8Array, source: string): SafetensorsFile {
  const fail = (problem: string): never => {
    throw new FormatError('bad-safetensors', `${source} is not a valid safetensors file: ${problem}`, {
      context: { source },
    });
  };
  if (bytes.length < 8) return fail(`expected at least 8 bytes, found ${bytes.length}`);
  const headerLength = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (headerLength > safetensorsHeaderBytesMax || headerLength > bytes.length - 8)
    return fail(`its header claims ${headerLength} bytes, the file has ${bytes.length - 8} after the length`);
  const dataStart = 8 + Number(headerLength);
  const header = parseHeader(bytes.subarray(8, dataStart), fail);
  const { __metadata__: metadata = {}, ...entries } = header;
  const data = bytes.subarray(dataStart);
  const placed = Object.entries(entries).map(([name, entry]) => ({ name, ...checkEntry(name, entry, fail) }));
  placed.sort((left, right) => left.begin - right.begin || left.end - right.end);
  let end = 0;
  const tensors = new Map<string, SafetensorsEntry>();
  for (const { name, dtype, shape, begin, end: next } of placed) {
    if (begin !== end)
      return fail(
        `tensor ${name} begins at byte ${begin} of the data, expected ${end}: ${begin < end ? 'it overlaps another' : 'there is a hole'}`,
      );
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, next) });
    end = next;
  }
  if (end !== data.length) return fail(`its tensors cover ${end} bytes, the data has ${data.length}`);
  return { tensors, metadata: checkMetadata(metadata, fail) };
}

type Fail = (problem: string) => never;

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  if (bytes[0] !== 0x7b) return fail('its header does not begin with "{"');
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    return fail('its header is not JSON in UTF-8');
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) return fail(`its header has the key ${JSON.stringify(duplicate)} twice`);
  return header as Record<string, unknown>;
}

function checkEntry(name: string, entry: unknown, fail: Fail) {
  const fields = isRecord(entry) ? entry : fail(`the entry ${name} is not an object`);
  const { dtype, shape, data_offsets: offsets, ...rest } = fields;
  const surplus = Object.keys(rest)[0];
  if (surplus !== undefined) return fail(`tensor ${name} has the unknown field ${JSON.stringify(surplus)}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(valueBytes, dtype))
    return fail(
      `tensor ${name} has the type ${JSON.stringify(dtype)}, expected one of ${Object.keys(valueBytes).join(', ')}`,
    );
  const type = dtype as SafetensorsType;
  if (!isSizes(shape)) return fail(`tensor ${name} has a shape that is not a list of whole numbers`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`tensor ${name} has no pair of data_offsets`);
  const [begin, end] = offsets as [number, number];
  const byteCount = shape.reduce((product, extent) => product * extent, valueBytes[type]);
  if (!Number.isSafeInteger(byteCount)) return fail(`tensor ${name} has a shape beyond any memory`);
  if (end - begin !== byteCount)
    return fail(
      `tensor ${name} of type ${type} and shape [${shape.join(', ')}] needs ${byteCount} bytes, its data_offsets hold ${end - begin}`,
    );
  return { dtype: type, shape, begin, end };
}

function checkMetadata(metadata: unknown, fail: Fail): Readonly<Record<string, string>> {
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    return fail('its __metadata__ is not an object of texts');
  return metadata as Record<string, string>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/**
 * Values as float32: a view where the bytes are aligned float32, else a copy. Bfloat16 and float16 convert exactly.
 * @throws FormatError `bad-tensor-type` for any type but F32, F16 and BF16.
 */
export function tensorValues({ dtype, bytes }: SafetensorsEntry): Float32Array {
  switch (dtype) {
    case 'F32':
      return bytes.byteOffset % 4 === 0
        ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
        : new Float32Array(new Uint8Array(bytes).buffer);
    case 'F16':
      return float32OfFloat16(halvesOf(bytes));
    case 'BF16':
      return float32OfBfloat16(halvesOf(bytes));
    default:
      throw new FormatError('bad-tensor-type', `expected a tensor of type F32, F16 or BF16, found ${dtype}`);
  }
}

function halvesOf(bytes: Uint8Array): Uint16Array {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return new Uint16Array(new Uint8Array(bytes).buffer);
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
