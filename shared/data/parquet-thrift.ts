/**
 * The compact protocol of Thrift, in which Parquet writes its headers, read within bounds: whatever the bytes say, the work and the memory that
 * reading takes are a multiple of their number.
 */

/** A value of a header; numbers beyond 2^53 lose their last digits, which no header that is read needs. */
export type ThriftValue = number | boolean | Uint8Array | readonly ThriftValue[] | ThriftStruct;

/** A structure by the numbers of its fields. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

/** Structures and lists within each other, far above every header's own. */
const depthMax = 32;
/** Bytes of the longest number, one of 64 bits. */
const numberBytesMax = 10;

const [ends, yes, no, byte, int16, int32, int64, double, binary, list, struct] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12];

/**
 * The structure that begins at `offset`, and where it ends.
 * @throws Error for bytes that are none.
 */
export function readThrift(bytes: Uint8Array, offset: number): { readonly fields: ThriftStruct; readonly end: number } {
  let at = offset;
  const left = (): number => bytes.length - at;
  const next = (): number => {
    if (left() < 1) throw new Error('a header goes on beyond its end');
    return bytes[at++]!;
  };
  const unsigned = (): number => {
    let value = 0;
    for (let index = 0; index < numberBytesMax; index++) {
      const part = next();
      value += (part & 127) * 2 ** (7 * index);
      if (part < 128) return value;
    }
    throw new Error(`a number in a header has more than ${numberBytesMax} bytes`);
  };
  const signed = (): number => {
    const value = unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  const take = (length: number): Uint8Array => {
    if (length > left()) throw new Error(`a header expects ${length} bytes where ${left()} are left`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const listOf = (depth: number): ThriftValue[] => {
    const head = next();
    const kind = head & 15;
    const length = head >> 4 === 15 ? unsigned() : head >> 4;
    // Every element takes a byte, so that a list longer than what is left cannot be.
    if (length > left())
      throw new Error(`a list in a header expects ${length} elements where ${left()} bytes are left`);
    const values: ThriftValue[] = [];
    for (let index = 0; index < length; index++)
      values.push(kind === yes || kind === no ? next() === 1 : value(kind, depth));
    return values;
  };
  const structOf = (depth: number): ThriftStruct => {
    const fields = new Map<number, ThriftValue>();
    for (let id = 0; ; ) {
      const head = next();
      const kind = head & 15;
      if (kind === ends) return fields;
      id = head >> 4 === 0 ? signed() : id + (head >> 4);
      fields.set(id, value(kind, depth));
    }
  };
  const value = (kind: number, depth: number): ThriftValue => {
    if (depth > depthMax) throw new Error(`a header has more than ${depthMax} levels`);
    switch (kind) {
      case yes:
        return true;
      case no:
        return false;
      case byte:
        return (next() << 24) >> 24;
      case int16:
      case int32:
      case int64:
        return signed();
      case double:
        return new DataView(take(8).slice().buffer).getFloat64(0, true);
      case binary:
        return take(unsigned());
      case list:
        return listOf(depth + 1);
      case struct:
        return structOf(depth + 1);
      default:
        throw new Error(`a header has a value of the unknown kind ${kind}`);
    }
  };
  const fields = structOf(0);
  return { fields, end: at };
}
