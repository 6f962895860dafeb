import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { UsageError } from '../../../shared/core/errors.ts';
import { canonicalJson } from '../../../shared/plan/canonical-json.ts';

const text = (value: unknown): string => new TextDecoder().decode(canonicalJson(value));

describe('canonicalJson', () => {
  it('[CJS-1] sorts keys by code units at every level and writes no white space', () => {
    assert.equal(
      text({ b: 1, a: { d: [1, 2], c: null }, '': true, é: 'x' }),
      '{"":true,"a":{"c":null,"d":[1,2]},"b":1,"é":"x"}',
    );
    assert.equal(text({ Z: 1, a: 2, '10': 3, '9': 4 }), '{"10":3,"9":4,"Z":1,"a":2}');
  });

  it('[CJS-2] writes numbers as ECMAScript does, minus zero as zero', () => {
    assert.equal(text([1e21, 1e-7, 0.1, -0, 100]), '[1e+21,1e-7,0.1,0,100]');
  });

  it('[CJS-3] leaves out undefined fields', () => {
    assert.equal(text({ a: undefined, b: 1 }), '{"b":1}');
  });

  it('[CJS-4] refuses what JSON cannot hold, naming the path', () => {
    const refused: [unknown, RegExp][] = [
      [{ a: [0, { b: Number.NaN }] }, /^UsageError: a\[1\]\.b must be plain JSON data with finite numbers, found NaN/],
      [{ a: Number.POSITIVE_INFINITY }, /found Infinity/],
      [{ a: 1n }, /found bigint/],
      [{ a: new Date(0) }, /found an object of a class/],
      [[undefined], /^UsageError: \[0\] must be/],
      [() => 1, /^UsageError: the document must be .* found function/],
      ['\ud800', /half of a surrogate pair/],
    ];
    for (const [value, message] of refused) assert.throws(() => canonicalJson(value), message);
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    assert.throws(() => canonicalJson(deep), UsageError);
  });

  it('[CJS-5] gives the same bytes again after JSON.parse, whatever the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const once = text(value);
        assert.equal(text(JSON.parse(once)), once);
        const reversed = JSON.parse(once, (_key, field) =>
          field !== null && typeof field === 'object' && !Array.isArray(field)
            ? Object.fromEntries(Object.entries(field).reverse())
            : field,
        );
        assert.equal(text(reversed), once);
      }),
      { seed: 7, numRuns: 200 },
    );
  });
});
