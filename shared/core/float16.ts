/** Float32 to binary16 (IEEE 754), for values that are kept and not computed with. */

/** The nearest binary16 bit patterns, ties to even; null where a value is not finite or beyond 65504. */
export function roundToFloat16(values: Float32Array): Uint16Array | null {
  const halves = new Uint16Array(values.length);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let index = 0; index < bits.length; index++) {
    const all = bits[index]!;
    const sign = (all >>> 16) & 0x8000;
    const magnitude = all & 0x7fffffff;
    // From 65520 on the nearest would be infinite.
    if (magnitude >= 0x477ff000) return null;
    if (magnitude >= 0x38800000) {
      const odd = (magnitude >>> 13) & 1;
      halves[index] = sign | ((magnitude - 0x38000000 + 0xfff + odd) >>> 13);
    } else {
      // Below 2^-14 the steps are 2^-24.
      halves[index] = sign | (roundedSubnormal(Math.abs(values[index]!)) & 0x7ff);
    }
  }
  return halves;
}

function roundedSubnormal(magnitude: number): number {
  const scaled = magnitude * 2 ** 24;
  const down = Math.floor(scaled);
  const rest = scaled - down;
  if (rest > 0.5 || (rest === 0.5 && down % 2 === 1)) return down + 1;
  return down;
}
