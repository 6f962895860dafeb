import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { concatBytes, toHex, utf8 } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Format } from '../../../shared/protocol/canonical.ts';
import {
  bytes,
  decodeCanonical,
  encodeCanonical,
  f64,
  identifier,
  raw,
  u8,
  u16,
  u32,
  u53,
  u64,
} from '../../../shared/protocol/canonical.ts';
import { ascending, digest, list, maybe, oneOf, structure, text } from '../../../shared/protocol/canonical-compound.ts';

const hexOf = <Value>(format: Format<Value>, value: Value): string => toHex(encodeCanonical(format, value));
const fault = <Value>(format: Format<Value>, encoded: Uint8Array): string => {
  const decoded = decodeCanonical(format, encoded, 'it');
  assert.ok(!decoded.ok, 'the bytes are refused');
  assert.equal(decoded.error.code, 'bad-frame');
  return decoded.error.detail;
};
const whole = structure({
  small: u8,
  medium: u16,
  large: u32,
  huge: u64,
  size: u53,
  ratio: f64,
  key: raw(3),
  id: identifier<string>(2),
  blob: bytes(10),
  name: text(20),
  kind: oneOf(['one', 'two']),
  items: list(u16, 4),
  set: ascending(text(4), 4, (item) => item),
  some: maybe(structure({ inner: u8 })),
});
const value = {
  small: 255,
  medium: 0x0102,
  large: 0x01020304,
  huge: 0x0102030405060708n,
  size: Number.MAX_SAFE_INTEGER,
  ratio: -1.5,
  key: Uint8Array.of(1, 2, 3),
  id: 'beef',
  blob: Uint8Array.of(9),
  name: 'Zürich \ufeff',
  kind: 'two' as const,
  items: [1, 2],
  set: ['a', 'b'],
  some: { inner: 7 },
};

describe('canonical bytes', () => {
  it('[CNL-1] are little-endian, length before data, in the order of the fields', () => {
    assert.equal(hexOf(u16, 0x0102), '0201');
    assert.equal(hexOf(u32, 0x01020304), '04030201');
    assert.equal(hexOf(u64, 0x0102030405060708n), '0807060504030201');
    assert.equal(hexOf(u53, 2 ** 53 - 1), 'ffffffffffff1f00');
    assert.equal(hexOf(f64, 1), '000000000000f03f');
    assert.equal(hexOf(f64, -0), '0000000000000000');
    assert.equal(hexOf(bytes(3), Uint8Array.of(7, 8)), '020000000708');
    assert.equal(hexOf(text(9), 'é'), '02000000c3a9');
    assert.equal(hexOf(list(u8, 3), [5, 6]), '020000000506');
    assert.equal(hexOf(maybe(u8), null), '00000000');
    assert.equal(hexOf(maybe(u8), 3), '0100000003');
    assert.equal(hexOf(structure({ b: u8, a: u8 }), { a: 1, b: 2 }), '0201');
  });

  it('[CNL-2] give the value back, and nothing that aliases them', () => {
    const encoded = encodeCanonical(whole, value);
    const decoded = decodeCanonical(whole, encoded, 'it');
    assert.deepEqual(decoded, { ok: true, value });
    encoded.fill(0);
    assert.deepEqual(decoded.ok && decoded.value.key, Uint8Array.of(1, 2, 3));
  });

  it('[CNL-3] cut off anywhere, or longer by anything, are refused', () => {
    const encoded = encodeCanonical(whole, value);
    for (let length = 0; length < encoded.length; length++) fault(whole, encoded.subarray(0, length));
    assert.match(fault(whole, concatBytes(encoded, Uint8Array.of(0))), /1 more bytes/);
  });

  it('[CNL-4] have one form: what another writer might make of the same value is refused', () => {
    assert.match(fault(f64, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x80)), /finite/);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const encoded = new Uint8Array(8);
      new DataView(encoded.buffer).setFloat64(0, bad, true);
      assert.match(fault(f64, encoded), /finite/);
    }
    const items = ascending(u8, 9, (item) => `${item}`);
    assert.match(fault(items, Uint8Array.of(2, 0, 0, 0, 2, 1)), /ascending/);
    assert.match(fault(items, Uint8Array.of(2, 0, 0, 0, 1, 1)), /ascending/);
    assert.match(fault(maybe(u8), Uint8Array.of(2, 0, 0, 0, 1, 1)), /at most 1/);
    assert.match(fault(oneOf(['a']), encodeCanonical(text(9), 'A')), /expected one of a/);
    assert.match(fault(text(9), Uint8Array.of(1, 0, 0, 0, 0xff)), /UTF-8/);
    assert.match(fault(text(9), Uint8Array.of(3, 0, 0, 0, 0xed, 0xa0, 0x80)), /UTF-8/);
    assert.match(fault(u53, Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0)), /2\^53/);
  });

  it('[CNL-5] lengths are judged before anything is made of them', () => {
    const hostile = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1);
    assert.match(fault(list(digest, 100), hostile), /at most 100 items, found 4294967295/);
    assert.match(fault(bytes(100), hostile), /at most 100 bytes/);
    assert.match(fault(list(digest, 2 ** 31), Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 1)), /found the end/);
  });

  it('[CNL-6] values out of range are bugs of the writer', () => {
    const wrong: readonly (() => unknown)[] = [
      () => encodeCanonical(u8, 256),
      () => encodeCanonical(u16, -1),
      () => encodeCanonical(u32, 1.5),
      () => encodeCanonical(u64, -1n),
      () => encodeCanonical(u64, 1n << 64n),
      () => encodeCanonical(u53, 2 ** 53),
      () => encodeCanonical(f64, Number.NaN),
      () => encodeCanonical(raw(2), new Uint8Array(3)),
      () => encodeCanonical(bytes(2), new Uint8Array(3)),
      () => encodeCanonical(text(2), 'abc'),
      () => encodeCanonical(text(9), '\ud800'),
      () => encodeCanonical(list(u8, 1), [1, 2]),
      () =>
        encodeCanonical(
          ascending(u8, 9, (item) => `${item}`),
          [2, 1],
        ),
    ];
    for (const write of wrong) assert.throws(write, { name: 'InvariantError' });
  });

  it('[CNL-7] seeded values of every format come back as they were (seed 1)', () => {
    const arbitrary = fc.record(
      {
        small: fc.integer({ min: 0, max: 255 }),
        medium: fc.integer({ min: 0, max: 2 ** 16 - 1 }),
        large: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        huge: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        size: fc.maxSafeNat(),
        ratio: fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
        key: fc.uint8Array({ minLength: 3, maxLength: 3 }),
        id: fc.uint8Array({ minLength: 2, maxLength: 2 }).map(toHex),
        blob: fc.uint8Array({ maxLength: 10 }),
        name: fc.string({ unit: 'grapheme', maxLength: 8 }).filter((name) => utf8(name).length <= 20),
        kind: fc.constantFrom('one' as const, 'two' as const),
        items: fc.array(fc.integer({ min: 0, max: 65_535 }), { maxLength: 4 }),
        set: fc
          .uniqueArray(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 4 }), { maxLength: 4 })
          .map((set) => set.sort()),
        some: fc.option(fc.record({ inner: fc.integer({ min: 0, max: 255 }) }, { noNullPrototype: true })),
      },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(arbitrary, (given) => {
        assert.deepEqual(decodeCanonical(whole, encodeCanonical(whole, given), 'it'), { ok: true, value: given });
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('[CNL-8] seeded garbage is refused or is exactly what the writer makes of its value (seed 2)', () => {
    const random = seededRandom(2, 'canonical');
    const encoded = encodeCanonical(whole, value);
    let accepted = 0;
    for (let run = 0; run < 4000; run++) {
      const mutant = Uint8Array.from(encoded);
      for (let change = 0; change <= random.integer(3); change++)
        mutant[random.integer(mutant.length)] = random.integer(256);
      const decoded = decodeCanonical(whole, mutant, 'it');
      if (!decoded.ok) continue;
      accepted += 1;
      assert.deepEqual(encodeCanonical(whole, decoded.value), mutant, `run ${run}`);
    }
    assert.ok(accepted > 100 && accepted < 3900, `${accepted} of 4000 were accepted`);
  });
});
