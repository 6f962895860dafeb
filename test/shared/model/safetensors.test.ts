import { strict as assert } from 'node:assert';
import { concatBytes, utf8 } from '../../../shared/core/bytes.ts';
import { FormatError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { readSafetensors, tensorValues, writeSafetensors } from '../../../shared/model/safetensors.ts';

/** A file with any header and `dataLength` zero bytes of data. */
function fileOf(header: unknown, dataLength: number): Uint8Array {
  const text = utf8(typeof header === 'string' ? header : JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return concatBytes(length, text, new Uint8Array(dataLength));
}

function refusal(file: Uint8Array): string {
  try {
    readSafetensors(file, 'x.safetensors');
  } catch (thrown) {
    assert.ok(thrown instanceof FormatError && thrown.code === 'bad-safetensors', String(thrown));
    assert.ok(thrown.message.startsWith('x.safetensors is not a valid safetensors file: '));
    return thrown.message;
  }
  assert.fail('the file was accepted');
}

const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('readSafetensors', () => {
  it('[SAF-1] gives back what was written, at any alignment of the file in memory', () => {
    const random = seededRandom(3);
    const values = (size: number) => Float32Array.from({ length: size }, () => random.normal());
    const tensors = new Map([
      ['a.weight', { shape: [2, 3], values: values(6) }],
      ['scalar', { shape: [], values: values(1) }],
      ['empty', { shape: [0, 4], values: values(0) }],
      ['ünïcode "quoted"', { shape: [5], values: values(5) }],
    ]);
    const file = writeSafetensors(tensors, { format: 'pt' });
    for (let shift = 0; shift < 5; shift++) {
      const moved = new Uint8Array(file.length + shift).subarray(shift);
      moved.set(file);
      // Node's Buffer is a Uint8Array whose slice does not copy.
      for (const bytes of [moved, Buffer.from(moved.buffer, moved.byteOffset, moved.length)]) {
        const found = readSafetensors(bytes, 'x');
        assert.deepEqual(found.metadata, { format: 'pt' });
        assert.deepEqual([...found.tensors.keys()].sort(), [...tensors.keys()].sort());
        for (const [name, { shape, values: expected }] of tensors) {
          assert.deepEqual(found.tensors.get(name)!.shape, shape);
          assert.deepEqual(tensorValues(found.tensors.get(name)!), expected);
        }
      }
    }
  });

  it('[SAF-2] writes data at a multiple of eight bytes', () => {
    const file = writeSafetensors(new Map([['t', { shape: [1], values: new Float32Array([1]) }]]));
    assert.equal(new DataView(file.buffer).getBigUint64(0, true) % 8n, 0n);
  });

  it('[SAF-3] accepts spaces after the header, any order of entries, and tensors without values', () => {
    const header = `${JSON.stringify({ second: entry(4, 8), none: entry(4, 4, [0]), first: entry(0, 4) })}   `;
    assert.deepEqual([...readSafetensors(fileOf(header, 8), 'x').tensors.keys()], ['first', 'none', 'second']);
  });

  it('[SAF-4] refuses a broken length or header', () => {
    assert.match(refusal(new Uint8Array(7)), /at least 8 bytes, found 7/);
    const long = fileOf({}, 0);
    new DataView(long.buffer).setBigUint64(0, 2n ** 63n, true);
    assert.match(refusal(long), /header claims 9223372036854775808 bytes/);
    assert.match(refusal(fileOf('[]', 0)), /does not begin with "\{"/);
    assert.match(refusal(fileOf('{', 0)), /not JSON/);
    assert.match(refusal(fileOf('{"a":1}', 0)), /the entry a is not an object/);
    assert.match(refusal(fileOf({ __metadata__: { a: 1 } }, 0)), /__metadata__ is not an object of texts/);
  });

  it('[SAF-5] refuses keys that stand twice, at every depth and however they are escaped', () => {
    const one = JSON.stringify(entry(0, 4));
    assert.match(refusal(fileOf(`{"a":${one},"a":${one}}`, 4)), /the key "a" twice/);
    assert.match(refusal(fileOf(`{"a":${one},"\\u0061":${one}}`, 4)), /the key "a" twice/);
    assert.match(
      refusal(fileOf('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4)),
      /"shape" twice/,
    );
    const fine = { 'a"b': entry(0, 4), 'a,b': entry(4, 8), '{': entry(8, 12) };
    assert.equal(readSafetensors(fileOf(fine, 12), 'x').tensors.size, 3);
  });

  it('[SAF-6] refuses holes, overlaps, data that no tensor covers, and tensors beyond the data', () => {
    assert.match(
      refusal(fileOf({ a: entry(0, 4), b: entry(8, 12) }, 12)),
      /tensor b begins at byte 8 .* expected 4: there is a hole/,
    );
    assert.match(refusal(fileOf({ a: entry(4, 8) }, 8)), /there is a hole/);
    assert.match(refusal(fileOf({ a: entry(0, 8), b: entry(4, 8) }, 8)), /it overlaps another/);
    assert.match(refusal(fileOf({ a: entry(0, 4) }, 8)), /cover 4 bytes, the data has 8/);
    assert.match(refusal(fileOf({ a: entry(0, 8) }, 4)), /cover 8 bytes, the data has 4/);
  });

  it('[SAF-7] refuses types, shapes and sizes that do not fit', () => {
    assert.match(refusal(fileOf({ a: entry(0, 4, [1], 'F4') }, 4)), /has the type "F4"/);
    assert.match(refusal(fileOf({ a: entry(0, 4, [1], 'toString') }, 4)), /has the type "toString"/);
    assert.match(refusal(fileOf({ a: entry(0, 4, [-1]) }, 4)), /shape that is not a list of whole numbers/);
    assert.match(refusal(fileOf({ a: entry(0, 4, [2]) }, 4)), /needs 8 bytes, its data_offsets hold 4/);
    assert.match(refusal(fileOf({ a: entry(0, 4, [2 ** 40, 2 ** 40]) }, 4)), /beyond any memory/);
    assert.match(refusal(fileOf({ a: { dtype: 'F32', shape: [1], offsets: [0, 4] } }, 4)), /unknown field "offsets"/);
    assert.match(refusal(fileOf({ a: { ...entry(0, 4), strides: [1] } }, 4)), /unknown field "strides"/);
  });

  it('[SAF-8] converts sixteen-bit floats exactly and refuses what is not a float', () => {
    const halves = (dtype: string, ...bits: number[]) => ({
      dtype: dtype as 'F16',
      shape: [bits.length],
      bytes: new Uint8Array(Uint16Array.from(bits).buffer),
    });
    const numbers = [1, -2, 65504, 2 ** -24, -0, 0.333251953125, Number.POSITIVE_INFINITY];
    assert.deepEqual(
      tensorValues(halves('F16', 0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x3555, 0x7c00)),
      Float32Array.from(numbers),
    );
    assert.ok(Number.isNaN(tensorValues(halves('F16', 0x7e00))[0]));
    assert.deepEqual(tensorValues(halves('BF16', 0x3f80, 0xc000, 0x0001)), Float32Array.from([1, -2, 2 ** -133]));
    assert.throws(() => tensorValues({ dtype: 'I64', shape: [1], bytes: new Uint8Array(8) }), /expected .* found I64/);
  });

  it('[SAF-9] writes no tensor whose values do not fill its shape', () => {
    const wrong = new Map([['a', { shape: [3], values: new Float32Array(2) }]]);
    assert.throws(() => writeSafetensors(wrong), /needs 3 values, found 2/);
  });

  it('[SAF-10] a cut or changed byte is an error or another file, never a crash', () => {
    const file = writeSafetensors(new Map([['weight', { shape: [4], values: new Float32Array(4) }]]), { format: 'pt' });
    const random = seededRandom(9, 'safetensors-fuzz');
    for (let trial = 0; trial < 2000; trial++) {
      const broken = file.slice(0, trial % 3 === 0 ? random.integer(file.length + 1) : file.length);
      if (broken.length > 0) broken[random.integer(broken.length)]! ^= 1 << random.integer(8);
      try {
        readSafetensors(broken, 'x');
      } catch (thrown) {
        assert.ok(thrown instanceof FormatError, `trial ${trial}: ${String(thrown)}`);
      }
    }
  });
});
