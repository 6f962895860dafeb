import { strict as assert } from 'node:assert';
import { convertBfloat16, convertFloat16 } from '../../../shared/compute/half-floats.ts';

const patterns = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);

/** IEEE 754, binary16. */
function float16Of(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 0x1f, (bits & 0x3ff) / 1024];
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

/** The upper half of a float32. */
function bfloat16Of(bits: number): number {
  return new Float32Array(Uint32Array.of(bits * 0x10000).buffer)[0]!;
}

const conversions = {
  binary16: [convertFloat16, float16Of],
  bfloat16: [convertBfloat16, bfloat16Of],
} as const;

describe('sixteen-bit floats', () => {
  for (const [name, [convert, numberOf]] of Object.entries(conversions)) {
    it(`[HFL-1] every pattern of ${name} is its value, many at once and few`, () => {
      // Beyond what is widened at once: the second half in another turn.
      for (const size of [0x10000, 37]) {
        for (let start = 0; start < patterns.length; start += size) {
          const given = patterns.subarray(start, start + size);
          const into = new Float32Array(given.length);
          convert(given, into);
          for (const [index, value] of into.entries())
            if (!Object.is(value, numberOf(given[index]!))) assert.fail(`${given[index]} became ${value}`);
        }
      }
    });

    it(`[HFL-2] ${name} of any length, wherever it begins, writes its own values and nothing else`, () => {
      for (const [start, length] of [
        [1, 63],
        [3, 64],
        [2, 65],
        [5, 130],
        [7, 0x8001],
      ] as const) {
        const into = new Float32Array(length + 2).fill(7);
        convert(patterns.subarray(start, start + length), into.subarray(1, length + 1));
        assert.deepEqual([into[0], into[length + 1]], [7, 7]);
        assert.equal(into[1], numberOf(start));
        assert.ok(Object.is(into[length], numberOf(start + length - 1)));
      }
    });
  }
});
