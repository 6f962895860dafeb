/**
 * Canonical bytes: the one encoding of a value, which is what is hashed and signed (SPEC.md, section "Canonical bytes").
 * Little-endian integers of fixed width; `bytes` and `text` are u32 length and data; a list is u32 count and items; f64 is 8 IEEE bytes,
 * finite only; what may be absent is a list of at most one item; a set is a strictly ascending list.
 *
 * A `Format` describes both directions, so that writer and reader cannot disagree. Writing a value out of range is our bug (assert);
 * reading bytes that no writer makes is the peer's fault: the reader keeps the first fault, and `decodeCanonical` returns it.
 */
import { assert } from '../core/assert.ts';
import { fromHex, toHex } from '../core/bytes.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import { type Violation, violation } from './violations.ts';

/** Bytes being written; grows as needed. */
class CanonicalWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** Room for `count` more bytes. */
  reserve(count: number): DataView {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return new DataView(this.#bytes.buffer, start, count);
  }

  /** Appends bytes as they are. */
  append(bytes: Uint8Array): void {
    const start = this.#length;
    this.reserve(bytes.length);
    this.#bytes.set(bytes, start);
  }

  /** What was written: a view that the caller owns once the writer is dropped. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Bytes being read. After the first fault every read gives zeros and lists are empty, so that readers need no checks of their own. */
class CanonicalReader {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #fault: string | null = null;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** What is wrong with the bytes, or null. */
  get fault(): string | null {
    return this.#fault;
  }

  /** Notes a fault; the first one stays. */
  fail(detail: string): void {
    this.#fault ??= `${detail} at byte ${this.#offset}`;
  }

  /** The next `count` bytes as a view of the input; zeros after a fault. */
  take(count: number, what: string): Uint8Array {
    if (this.#fault === null && count > this.#bytes.length - this.#offset) this.fail(`expected ${what}, found the end`);
    if (this.#fault !== null) return new Uint8Array(Math.min(count, 64));
    this.#offset += count;
    return this.#bytes.subarray(this.#offset - count, this.#offset);
  }

  /** As {@link take}, for numbers of up to eight bytes. */
  view(count: number, what: string): DataView {
    const bytes = this.take(count, what);
    return new DataView(bytes.buffer, bytes.byteOffset, count);
  }

  /** Notes a fault unless everything was read. */
  end(): void {
    if (this.#offset !== this.#bytes.length)
      this.fail(`expected the end, found ${this.#bytes.length - this.#offset} more bytes`);
  }
}

/** How one kind of value is written and read. */
export interface Format<Value> {
  /** @throws InvariantError when the value is out of range. */
  write(writer: CanonicalWriter, value: Value): void;
  /** Notes a fault in the reader when the bytes are wrong. */
  read(reader: CanonicalReader): Value;
}

/** The values of a format. */
export type ValueOf<Of> = Of extends Format<infer Value> ? Value : never;

/** The canonical bytes of a value. @throws InvariantError when the value is out of the format's range. */
export function encodeCanonical<Value>(format: Format<Value>, value: Value): Uint8Array {
  const writer = new CanonicalWriter();
  format.write(writer, value);
  return writer.finish();
}

/** The value of canonical bytes, or `bad-frame`. Values never alias `bytes`. */
export function decodeCanonical<Value>(
  format: Format<Value>,
  bytes: Uint8Array,
  what: string,
): Result<Value, Violation> {
  const reader = new CanonicalReader(bytes);
  const value = format.read(reader);
  reader.end();
  return reader.fault === null ? succeed(value) : refuse(violation('bad-frame', `${what}: ${reader.fault}`));
}

function unsigned(byteCount: 1 | 2 | 4): Format<number> {
  const [max, what] = [2 ** (8 * byteCount) - 1, `a u${8 * byteCount}`];
  return {
    write: (writer, value) => {
      assert(
        Number.isInteger(value) && value >= 0 && value <= max,
        `${what} is an integer from 0 to ${max}, found ${value}`,
      );
      const view = writer.reserve(byteCount);
      if (byteCount === 1) view.setUint8(0, value);
      else if (byteCount === 2) view.setUint16(0, value, true);
      else view.setUint32(0, value, true);
    },
    read: (reader) => {
      const view = reader.view(byteCount, what);
      if (byteCount === 1) return view.getUint8(0);
      return byteCount === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
    },
  };
}

/** Unsigned integer of one byte. */
export const u8 = unsigned(1);
/** Unsigned integer of two bytes. */
export const u16 = unsigned(2);
/** Unsigned integer of four bytes. */
export const u32 = unsigned(4);

/** Unsigned integer of eight bytes. */
export const u64: Format<bigint> = {
  write: (writer, value) => {
    assert(value >= 0n && value < 1n << 64n, 'a u64 is from 0 to 2^64 - 1');
    writer.reserve(8).setBigUint64(0, value, true);
  },
  read: (reader) => reader.view(8, 'a u64').getBigUint64(0, true),
};

/** Unsigned integer of eight bytes that is a number in memory: sizes and milliseconds, at most 2^53 - 1. */
export const u53: Format<number> = {
  write: (writer, value) => {
    assert(Number.isSafeInteger(value), `expected an integer below 2^53, found ${value}`);
    u64.write(writer, BigInt(value));
  },
  read: (reader) => {
    const value = u64.read(reader);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) reader.fail('expected an integer below 2^53');
    return Number(value);
  },
};

/** IEEE 754 double, finite. Negative zero is written as zero and refused when read, so that equal numbers have equal bytes. */
export const f64: Format<number> = {
  write: (writer, value) => {
    assert(Number.isFinite(value), 'an f64 is finite');
    writer.reserve(8).setFloat64(0, value + 0, true);
  },
  read: (reader) => {
    const value = reader.view(8, 'an f64').getFloat64(0, true);
    if (!Number.isFinite(value) || Object.is(value, -0)) reader.fail('expected a finite f64 other than -0');
    return value;
  },
};

/** Exactly `count` raw bytes; read as a copy. */
export function raw(count: number): Format<Uint8Array> {
  return {
    write: (writer, value) => {
      assert(value.length === count, `expected ${count} bytes, found ${value.length}`);
      writer.append(value);
    },
    read: (reader) => Uint8Array.from(reader.take(count, `${count} bytes`)),
  };
}

/** An identifier: `count` raw bytes that are lower-case hex in memory. */
export function identifier<Id extends string>(count: number): Format<Id> {
  const bytes = raw(count);
  return {
    write: (writer, value) => bytes.write(writer, fromHex(value)),
    read: (reader) => toHex(bytes.read(reader)) as Id,
  };
}

/** Bytes of any length up to `sizeMax`; read as a copy. */
export function bytes(sizeMax: number): Format<Uint8Array> {
  return {
    write: (writer, value) => {
      assert(value.length <= sizeMax, `expected at most ${sizeMax} bytes, found ${value.length}`);
      u32.write(writer, value.length);
      writer.append(value);
    },
    read: (reader) => {
      const size = u32.read(reader);
      if (size > sizeMax) reader.fail(`expected at most ${sizeMax} bytes, found ${size}`);
      return Uint8Array.from(reader.take(size, `${size} bytes`));
    },
  };
}
