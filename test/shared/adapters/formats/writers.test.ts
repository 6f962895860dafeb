/** What files are made of: Python's JSON and narrow floats. */
import { strict as assert } from 'node:assert';
import { narrowBytes } from '../../../../shared/adapters/formats/narrow-floats.ts';
import { pythonFloat, pythonJson } from '../../../../shared/adapters/formats/python-json.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { tensorValues } from '../../../../shared/model/safetensors.ts';

describe('JSON as Python writes it', () => {
  it('[PYJ-1] sorts keys, indents by two, escapes what is not ASCII, and keeps floats apart from integers', () => {
    const value = {
      b: pythonFloat(1),
      a: [1, pythonFloat(0.5), 'ä\u{1f600}"'],
      float: 2,
      empty: {},
      none: null,
      list: [],
    };
    // The output of json.dumps(value, indent=2, sort_keys=True).
    const expected = [
      '{',
      '  "a": [',
      '    1,',
      '    0.5,',
      '    "\\u00e4\\ud83d\\ude00\\""',
      '  ],',
      '  "b": 1.0,',
      '  "empty": {},',
      '  "float": 2,',
      '  "list": [],',
      '  "none": null',
      '}',
    ].join('\n');
    assert.equal(pythonJson(value), expected);
  });
});

/** Values after a type and back. */
function rounded(values: readonly number[], dtype: 'F16' | 'BF16'): number[] {
  const bytes = narrowBytes(Float32Array.from(values), dtype, 'w');
  return [...tensorValues({ dtype, shape: [values.length], bytes })];
}

describe('narrow floats', () => {
  const known = {
    // Exact; ties to even on both sides; the smallest numbers; overflow only by rounding up.
    F16: [
      [1, 1],
      [-2.5, -2.5],
      [1 + 2 ** -11, 1],
      [1 + 3 * 2 ** -11, 1 + 2 ** -9],
      [1 + 2 ** -11 + 2 ** -20, 1 + 2 ** -10],
      [65504, 65504],
      [65519, 65504],
      [2 ** -24, 2 ** -24],
      [2 ** -25, 0],
      [3 * 2 ** -25, 2 ** -23],
      [2 ** -14 - 2 ** -26, 2 ** -14],
      [-0, -0],
    ],
    BF16: [
      [1, 1],
      [1 + 2 ** -8, 1],
      [1 + 3 * 2 ** -8, 1 + 2 ** -6],
      [1 + 2 ** -8 + 2 ** -20, 1 + 2 ** -7],
      [-(1 + 3 * 2 ** -8) * 2 ** 126, -(1 + 2 ** -6) * 2 ** 126],
      [2 ** -130, 2 ** -130],
    ],
  } as const;
  for (const dtype of ['F16', 'BF16'] as const) {
    it(`[NAR-1:${dtype}] rounds to the nearest value, halves to even`, () => {
      const values = known[dtype].map(([value]) => value);
      assert.deepEqual(
        rounded(values, dtype),
        known[dtype].map(([, expected]) => Math.fround(expected)),
      );
    });

    it(`[NAR-2:${dtype}] what is representable stays, what is not moves by half a unit at most`, () => {
      const random = seededRandom(5);
      const values = Array.from({ length: 2000 }, () =>
        Math.fround(random.normal() * 2 ** Math.round(3 * random.normal())),
      );
      const once = rounded(values, dtype);
      assert.deepEqual(rounded(once, dtype), once);
      const bits = dtype === 'F16' ? 11 : 8;
      for (const [index, value] of values.entries()) {
        const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(value))), dtype === 'F16' ? -14 : -126) + 1 - bits);
        assert.ok(Math.abs(once[index]! - value) <= unit / 2, `${value} became ${once[index]}`);
      }
    });
  }

  it('[NAR-3] a value beyond the type is refused by name, infinities and NaN stay', () => {
    assert.throws(() => narrowBytes(Float32Array.of(1, 70_000), 'F16', 'w'), {
      code: 'value-too-large',
      message: /w has the value 70000, which F16 cannot hold; .*--dtype F32 or BF16/,
    });
    assert.throws(() => narrowBytes(Float32Array.of(3.4e38), 'BF16', 'w'), { code: 'value-too-large' });
    for (const dtype of ['F16', 'BF16'] as const) {
      const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      assert.deepEqual(rounded(values, dtype), values);
    }
  });
});
