import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { filledTensor } from '../../../shared/compute/filled-tensor.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { bytesInMemory, pieceBytes } from '../../../shared/model/byte-source.ts';
import type { StoredTensor } from '../../../shared/model/safetensors-header.ts';
import { fillTransposed, fillValues } from '../../../shared/model/stored-tensor.ts';
import { weightsOf } from '../../../shared/model/weights.ts';

type FloatType = 'F32' | 'F16' | 'BF16';

/** Numbers that all three types hold exactly. */
function numbers(count: number): Float32Array {
  const random = seededRandom(5, 'stored-tensor');
  return Float32Array.from({ length: count }, () => (random.integer(256) - 128) / 32);
}

/** The bits of numbers with few binary digits as float16. */
function float16Bits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

/** A tensor with these values that begins `shift` bytes into its file. */
function stored(values: Float32Array, shape: readonly number[], dtype: FloatType, shift: number): StoredTensor {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bytes =
    dtype === 'F32'
      ? bytesOf(values)
      : bytesOf(
          dtype === 'BF16' ? Uint16Array.from(bits, (word) => word >>> 16) : Uint16Array.from(values, float16Bits),
        );
  const file = new Uint8Array(shift + bytes.length);
  file.set(bytes, shift);
  return { dtype, shape, source: bytesInMemory(file), offset: shift, byteCount: bytes.length };
}

describe('stored tensors', () => {
  for (const dtype of ['F32', 'F16', 'BF16'] as const) {
    it(`[STT-1] give their values, in pieces and at any alignment: ${dtype}`, () => {
      for (const count of [0, 1, 7, pieceBytes / 4 + 5]) {
        for (const shift of [0, 1, 2, 3]) {
          const values = numbers(count);
          const found = new Float32Array(count);
          fillValues(stored(values, [count], dtype, shift), found);
          assert.deepEqual(found, values);
        }
      }
    });

    it(`[STT-2] give their transpose, for any shape: ${dtype}`, () => {
      for (const [rowCount, columnCount] of [
        [1, 1],
        [3, 5],
        [8, 16],
        [17, 33],
        [700, 257],
        [2, 200_000],
      ] as const) {
        const values = numbers(rowCount * columnCount);
        const found = new Float32Array(values.length);
        fillTransposed(stored(values, [rowCount, columnCount], dtype, 1), found);
        const wrong = found.findIndex(
          (value, index) => value !== values[(index % rowCount) * columnCount + Math.floor(index / rowCount)],
        );
        assert.equal(wrong, -1, `[${rowCount}, ${columnCount}] at ${wrong}`);
      }
    });
  }
});

describe('weightsOf', () => {
  it('[STT-5] leaves no tensor when one of them cannot be read', async () => {
    await useBackend('wasm');
    const before = memory().numTensors;
    const broken: StoredTensor = {
      ...stored(numbers(4), [4], 'F32', 0),
      source: {
        size: 16,
        piece: () => {
          throw new Error('the disk is gone');
        },
      },
    };
    const weights = weightsOf(
      new Map([...['a', 'b'].map((name) => [name, stored(numbers(6), [2, 3], 'F16', 0)] as const), ['c', broken]]),
    );
    weights.matrix('a');
    weights.transposed('b');
    assert.throws(() => weights.vector('c'), /the disk is gone/);
    assert.equal(memory().numTensors, before);
  });
});

describe('filledTensor', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[STT-3] holds what was written to it, and is gone when writing fails, on ${backend}`, async () => {
      await useBackend(backend);
      const before = memory().numTensors;
      const tensor = filledTensor([2, 3], (values) => values.set([1, 2, 3, 4, 5, 6]));
      assert.deepEqual([tensor.shape, tensor.dtype], [[2, 3], 'float32']);
      assert.deepEqual([...tensor.dataSync()], [1, 2, 3, 4, 5, 6]);
      tensor.dispose();
      assert.throws(
        () =>
          filledTensor([4], () => {
            throw new Error('disk');
          }),
        /disk/,
      );
      assert.equal(memory().numTensors, before);
    });
  }

  it('[STT-4] says what to do when WebAssembly has no room', async () => {
    await useBackend('wasm');
    const before = memory().numTensors;
    // One is too large for any address, the other for what is left.
    for (const shape of [[2 ** 16, 2 ** 16], [2 ** 30 - 1]]) {
      const fill = () => assert.fail('there was room');
      assert.throws(() => filledTensor(shape, fill), /no room for a tensor of \d+ values: its memory ends at 4 GiB/);
    }
    assert.equal(memory().numTensors, before);
  });
});
