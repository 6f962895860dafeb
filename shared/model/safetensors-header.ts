/**
 * The header of a safetensors file: eight bytes of its length, then JSON. Reading is strict: a header either describes exactly the bytes that
 * follow, down to the last one, or is a {@link FormatError}.
 */
import { FormatError } from '../core/errors.ts';
import { safetensorsHeaderBytesMax } from '../core/limits.ts';
import { type ByteSource, readRange } from './byte-source.ts';
import { findDuplicateKey } from './json-keys.ts';
import { magicOf } from './unsafe-files.ts';

/** Bytes of one value by type name. Newer types (below one byte, complex) are refused. */
export const valueBytes = {
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

/** A tensor as it lies in its file. */
export interface StoredTensor {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly source: ByteSource;
  /** Where its bytes begin in `source`. */
  readonly offset: number;
  readonly byteCount: number;
}

/** A file's tensors by name in the order of their bytes, and its metadata. */
export interface StoredTensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a file's header and checks it against the size of the file; no tensor is read.
 * @param name the file's name, for messages.
 * @throws FormatError `bad-safetensors` when anything is not as the format says: header, types, shapes, sizes, gaps, overlaps, rest;
 * `unsafe-file` when it is a pickle.
 */
export function readHeader(source: ByteSource, name: string): StoredTensors {
  const fail = (problem: string): never => {
    throw new FormatError('bad-safetensors', `${name} is not a valid safetensors file: ${problem}`, {
      context: { source: name },
    });
  };
  if (source.size < 8) return fail(`expected at least 8 bytes, found ${source.size}`);
  const start = readRange(source, 0, 8);
  const magic = magicOf(start);
  if (magic !== null) throw new FormatError('unsafe-file', `${name} is not a safetensors file but ${magic}`);
  const headerLength = new DataView(start.buffer).getBigUint64(0, true);
  if (headerLength > safetensorsHeaderBytesMax)
    return fail(`its header claims ${headerLength} bytes, the format allows ${safetensorsHeaderBytesMax}`);
  if (headerLength > source.size - 8)
    return fail(`its header claims ${headerLength} bytes, the file has ${source.size - 8} after the length`);
  const dataStart = 8 + Number(headerLength);
  const header = parseHeader(readRange(source, 8, Number(headerLength)), fail);
  const { __metadata__: metadata = {}, ...entries } = header;
  const dataLength = source.size - dataStart;
  const placed = Object.entries(entries).map(([tensor, entry]) => ({ tensor, ...checkEntry(tensor, entry, fail) }));
  placed.sort((left, right) => left.begin - right.begin || left.end - right.end);
  let end = 0;
  const tensors = new Map<string, StoredTensor>();
  for (const { tensor, dtype, shape, begin, end: next } of placed) {
    if (begin !== end) {
      const reason = begin < end ? 'it overlaps another' : 'there is a hole';
      return fail(`tensor ${tensor} begins at byte ${begin} of the data, expected ${end}: ${reason}`);
    }
    tensors.set(tensor, { dtype, shape, source, offset: dataStart + begin, byteCount: next - begin });
    end = next;
  }
  if (end !== dataLength) return fail(`its tensors cover ${end} bytes, the data has ${dataLength}`);
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
  if (typeof dtype !== 'string' || !Object.hasOwn(valueBytes, dtype)) {
    const known = Object.keys(valueBytes).join(', ');
    return fail(`tensor ${name} has the type ${JSON.stringify(dtype)}, expected one of ${known}`);
  }
  const type = dtype as SafetensorsType;
  if (!isSizes(shape)) return fail(`tensor ${name} has a shape that is not a list of whole numbers`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`tensor ${name} has no pair of data_offsets`);
  const [begin, end] = offsets as [number, number];
  const byteCount = shape.reduce((product, extent) => product * extent, valueBytes[type]);
  if (!Number.isSafeInteger(byteCount)) return fail(`tensor ${name} has a shape beyond any memory`);
  if (end - begin !== byteCount) {
    const needed = `of type ${type} and shape [${shape.join(', ')}] needs ${byteCount} bytes`;
    return fail(`tensor ${name} ${needed}, its data_offsets hold ${end - begin}`);
  }
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
