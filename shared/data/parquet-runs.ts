/** Encodings of Parquet that say how much follows: their claims are judged before a decoder that believes them reads the bytes. */

/** Bits of `value` at `index` where each value has `width` bits, up to 8, the lowest first; 0 beyond the end. */
function bitsAt(bytes: Uint8Array, start: number, index: number, width: number): number {
  const bit = index * width;
  const at = start + (bit >> 3);
  return (((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)) >> (bit & 7)) & ((1 << width) - 1);
}

/** A number of seven bits a byte, in 32 bits as decoders have it, and where it ends. */
function varint(bytes: Uint8Array, offset: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let index = 0; index < 5; index++) {
    const part = bytes[offset + index];
    if (part === undefined) throw new Error('a run goes on beyond the end of its page');
    value |= (part & 127) << (7 * index);
    if (part < 128) return { value, end: offset + index + 1 };
  }
  throw new Error('a length in a page has more than 5 bytes');
}

/**
 * Judges runs of values (repeated or packed) from `offset` on, and counts those that are `target` among the first `count`.
 * @throws Error for a run that is longer than there are values.
 */
export function countRuns(
  bytes: Uint8Array,
  {
    offset,
    width,
    count,
    target,
  }: { readonly offset: number; readonly width: number; readonly count: number; readonly target: number },
): number {
  let found = 0;
  let at = offset;
  for (let seen = 0; seen < count; ) {
    const { value: head, end } = varint(bytes, at);
    const isPacked = (head & 1) === 1;
    const length = isPacked ? 8 * (head >>> 1) : head >>> 1;
    const most = isPacked ? 8 * Math.ceil((count - seen) / 8) : count - seen;
    // Packed values are paid for with bytes, unless they have no bits.
    if ((!isPacked || width === 0) && length > most) {
      throw new Error(`a page repeats a value ${length} times where ${count - seen} are left`);
    }
    const real = Math.min(length, count - seen);
    if (isPacked) {
      const size = (head >>> 1) * width;
      if (end + Math.ceil((real * width) / 8) > bytes.length)
        throw new Error('packed values go on beyond the end of their page');
      if (width <= 8)
        for (let index = 0; index < real; index++) found += bitsAt(bytes, end, index, width) === target ? 1 : 0;
      at = end + size;
    } else {
      const size = (width + 7) >> 3;
      if (end + size > bytes.length) throw new Error('a run goes on beyond the end of its page');
      let value = 0;
      for (let index = 0; index < size; index++) value |= bytes[end + index]! << (8 * index);
      if (value === target) found += real;
      at = end + size;
    }
    seen += real;
  }
  return found;
}

/** Values of one more than that many bits have no use in 64 bits. */
const deltaBitsMax = 64;

/**
 * Numbers that are written as differences, in their lowest 32 bits, and where they end.
 * @throws Error for blocks that do not add up.
 */
export function readDeltas(
  bytes: Uint8Array,
  offset: number,
  count: number,
): { readonly values: Int32Array; readonly end: number } {
  let at = offset;
  const number = (): number => {
    const { value, end } = varint(bytes, at);
    at = end;
    return value;
  };
  /** Of numbers with up to ten bytes the lowest 32 bits: a zigzag's lowest bits are those of its number. */
  const signed = (): number => {
    let [low, high] = [0, 0];
    for (let index = 0; index < 10; index++) {
      const part = bytes[at++];
      if (part === undefined) throw new Error('a difference goes on beyond the end of its page');
      if (index < 5) low |= (part & 127) << (7 * index);
      if (index === 4) high = (part >> 4) & 1;
      if (part < 128) return ((low >>> 1) | (high << 31)) ^ -(low & 1);
    }
    throw new Error('a difference has more than 10 bytes');
  };
  const [blockSize, blockParts] = [number(), number()];
  const perPart = blockSize / blockParts;
  if (blockSize < 1 || blockParts < 1 || perPart % 8 !== 0) {
    throw new Error(`expected blocks in parts of a multiple of 8 differences, found ${blockSize} in ${blockParts}`);
  }
  number();
  const values = new Int32Array(count);
  let last = signed();
  if (count > 0) values[0] = last;
  for (let index = 1; index < count; ) {
    const least = signed();
    const widths = bytes.subarray(at, at + blockParts);
    if (widths.length < blockParts) throw new Error('a block of differences goes on beyond the end of its page');
    at += blockParts;
    for (const width of widths) {
      if (index >= count) break;
      if (width > deltaBitsMax) throw new Error(`a difference has ${width} bits`);
      const real = Math.min(perPart, count - index);
      if (at + Math.ceil((real * width) / 8) > bytes.length)
        throw new Error('differences go on beyond the end of their page');
      for (let one = 0; one < real; one++) {
        let residue = 0;
        for (let bit = 0; bit < Math.min(width, 32); bit++) {
          const place = one * width + bit;
          residue |= ((bytes[at + (place >> 3)]! >> (place & 7)) & 1) << bit;
        }
        last = (last + least + residue) | 0;
        values[index++] = last;
      }
      at += (perPart * width) / 8;
    }
  }
  return { values, end: at };
}
