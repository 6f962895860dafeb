import { strict as assert } from 'node:assert';
import {
  bytesOf,
  concatBytes,
  equalBytes,
  float32Of,
  fromHex,
  releaseBytes,
  toHex,
  utf8,
} from '../../../shared/core/bytes.ts';
import { FormatError } from '../../../shared/core/errors.ts';
import { parseClientId, parseDigest, parseSessionId } from '../../../shared/core/ids.ts';

describe('bytes', () => {
  it('turns bytes into hex and back', () => {
    const bytes = Uint8Array.from([0, 1, 127, 128, 255]);
    assert.equal(toHex(bytes), '00017f80ff');
    assert.deepEqual(fromHex('00017F80ff'), bytes);
    assert.throws(() => fromHex('0'), FormatError);
    assert.throws(() => fromHex('zz'), FormatError);
  });

  it('concatenates and compares', () => {
    const joined = concatBytes(utf8('ab'), new Uint8Array(0), utf8('c'));
    assert.ok(equalBytes(joined, utf8('abc')));
    assert.ok(!equalBytes(joined, utf8('abd')));
    assert.ok(!equalBytes(joined, utf8('ab')));
  });

  it('reads float32 values at any alignment', () => {
    const values = Float32Array.from([1.5, -2, 3]);
    const shifted = new Uint8Array(13);
    shifted.set(bytesOf(values), 1);
    assert.deepEqual(float32Of(shifted.subarray(1)), values);
    assert.equal(float32Of(bytesOf(values)).buffer, values.buffer);
    assert.throws(() => float32Of(new Uint8Array(5)), FormatError);
  });

  it('releases a large buffer that has one owner, and leaves what shares its memory alone', () => {
    const own = new Uint8Array(65_536).fill(7);
    releaseBytes(own);
    assert.equal(own.length, 0);
    const shared = new Uint8Array(131_072).fill(7);
    for (const view of [shared.subarray(65_536), shared.subarray(0, 65_536)]) {
      releaseBytes(view);
      assert.equal(view.length, 65_536);
    }
    const small = new Uint8Array(65_535);
    releaseBytes(small);
    assert.equal(small.length, 65_535);
  });
});

describe('identifiers', () => {
  it('accept lower-case hex of their length and nothing else', () => {
    assert.equal(parseDigest('ab'.repeat(32)), 'ab'.repeat(32));
    assert.equal(parseSessionId('01'.repeat(16)), '01'.repeat(16));
    for (const wrong of ['', 'AB'.repeat(32), 'ab'.repeat(31), `${'ab'.repeat(31)}zz`]) {
      assert.throws(() => parseClientId(wrong), FormatError);
    }
  });
});
