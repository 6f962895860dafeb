/** Sixteen-bit floats as float32. Both conversions are exact; Node 22 and browsers have no array type of their own for them. */

let float16Table: Float32Array | null = null;

/** All 65536 values of binary16 (IEEE 754): one look-up per value is several times faster than taking the bits apart. */
function tableOfFloat16(): Float32Array {
  if (float16Table !== null) return float16Table;
  const table = new Float32Array(0x10000);
  for (let bits = 0; bits < 0x10000; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 0x1f) table[bits] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  float16Table = table;
  return table;
}

/** Writes the values of binary16 bit patterns to `into`, which is as long. */
export function convertFloat16(halves: Uint16Array, into: Float32Array): void {
  const table = tableOfFloat16();
  for (let index = 0; index < halves.length; index++) into[index] = table[halves[index]!]!;
}

/** Writes the values of bfloat16 bit patterns, which are the upper halves of float32, to `into`, which is as long. */
export function convertBfloat16(halves: Uint16Array, into: Float32Array): void {
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let index = 0; index < halves.length; index++) bits[index] = halves[index]! << 16;
}
