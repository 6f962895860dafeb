/** Operations that decoders brought, and those in which a base's own tensors are trained. */
import { strict as assert } from 'node:assert';
import {
  add,
  concat,
  div,
  gather,
  matMul,
  mean,
  memory,
  mul,
  sigmoid,
  slice,
  sqrt,
  square,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { attention, attentionOnSeen, seenHeads } from '../../../shared/compute/attention.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { gatedSilu } from '../../../shared/compute/gated-silu.ts';
import { frozenNorm } from '../../../shared/compute/layer-norm.ts';
import { frozenLinear, tiedOutput } from '../../../shared/compute/products.ts';
import { frozenRmsNorm } from '../../../shared/compute/rms-norm.ts';
import { rotaryFrequencies, rotate, rotationOf } from '../../../shared/compute/rotary.ts';
import { trainableRows } from '../../../shared/compute/table.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { attentionMaskOf } from '../../../shared/model/attention-mask.ts';
import { checkGradients, largestDifference, randomTensor } from './finite-differences.ts';
import { requireNative } from './native/available.ts';

const random = seededRandom(17, 'decoder-operations');

describe('rotaryFrequencies', () => {
  it('[ROT-1] stretches slow rotations as Llama 3 does', () => {
    const plain = rotaryFrequencies(64, 500_000, null);
    const stretched = rotaryFrequencies(64, 500_000, {
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalPositions: 8192,
    });
    const assertNear = (found: number, expected: number) =>
      assert.ok(Math.abs(found / expected - 1) < 1e-6, `${found}, expected ${expected}`);
    assertNear(plain[10]!, 1.656044e-2);
    assertNear(stretched[10]!, plain[10]!);
    assertNear(plain[17]!, 9.384739e-4);
    assertNear(stretched[17]!, 1.785078e-4);
    assertNear(stretched[18]!, 7.784655e-5);
    assertNear(stretched[31]!, 3.767323e-7);
  });
});

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`operations of decoders on ${backend}`, () => {
    let tensorCount = 0;
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });
    beforeEach(() => {
      tensorCount = memory().numTensors;
    });
    afterEach(() => assert.equal(memory().numTensors, tensorCount, 'an operation leaves tensors behind'));

    it('[ROT-2] pairs the halves of a head and turns them by their position, every head and every text alike', () => {
      tidy(() => {
        const rotation = rotationOf(rotaryFrequencies(4, 10_000, null), 1, 1);
        const turned = rotate(tensor2d([1, 2, 3, 4, 1, 2, 3, 4], [1, 8]), rotation);
        const once = [-1.984111, 1.959901, 2.462378, 4.0198];
        assert.ok(largestDifference(turned, tensor2d([...once, ...once], [1, 8])) < 1e-6);
        const two = rotationOf(rotaryFrequencies(4, 10_000, null), 0, 2);
        const rows = tensor2d([1, 2, 3, 4], [1, 4]);
        const all = rotate(concat([rows, rows, rows, rows]), two);
        assert.ok(largestDifference(all, concat([rows, tensor2d(once, [1, 4]), rows, tensor2d(once, [1, 4])])) < 1e-6);
        checkGradients([randomTensor([4, 12], random)], (input) =>
          rotate(input as Tensor2D, rotationOf(rotaryFrequencies(4, 10_000, null), 3, 2)),
        );
      });
    });

    it('[ROT-3] scores depend on distances alone', () => {
      tidy(() => {
        const frequencies = rotaryFrequencies(8, 10_000, null);
        const [q, k] = [randomTensor<Tensor2D>([1, 8], random), randomTensor<Tensor2D>([1, 8], random)];
        const scoreAt = (start: number) =>
          matMul(
            rotate(q, rotationOf(frequencies, start + 5, 1)),
            rotate(k, rotationOf(frequencies, start, 1)),
            false,
            true,
          );
        assert.ok(largestDifference(scoreAt(0), scoreAt(40)) < 1e-4);
      });
    });

    it('[RMS-1] a root-mean-square norm equals its formula and passes a gradient to its input', () => {
      tidy(() => {
        const gain = randomTensor<Tensor1D>([6], random);
        const x = randomTensor<Tensor2D>([5, 6], random);
        const norm = frozenRmsNorm(gain, 1e-3);
        const plain = (input: Tensor, g: Tensor) => mul(div(input, sqrt(add(mean(square(input), 1, true), 1e-3))), g);
        assert.ok(largestDifference(norm.apply(x), plain(x, gain)) < 1e-5);
        checkGradients([x], (input) => norm.apply(input as Tensor2D));
        const other = randomTensor<Tensor1D>([6], random);
        assert.ok(largestDifference(norm.apply(x, { gain: other }), plain(x, other)) < 1e-5);
        checkGradients([x, other], (input, g) => norm.apply(input as Tensor2D, { gain: g as Tensor1D }));
      });
    });

    it('[SIL-1] a gated feed-forward activation equals silu(a) b and has gradients in both', () => {
      tidy(() => {
        const a = randomTensor<Tensor2D>([4, 6], random, 2);
        const b = randomTensor<Tensor2D>([4, 6], random);
        assert.ok(largestDifference(gatedSilu(a, b), mul(mul(a, sigmoid(a)), b)) < 1e-5);
        checkGradients([a, b], (gate, up) => gatedSilu(gate!, up!));
      });
    });

    it('[DOP-1] heads of queries that share keys and values equal attention with repeated ones', () => {
      const shape = { batchSize: 2, sequenceLength: 5, headCount: 6, keyValueHeadCount: 2 };
      const headSize = 4;
      tidy(() => {
        const [q, k, v] = [24, 8, 8].map((width) => randomTensor<Tensor2D>([10, width], random)) as [
          Tensor2D,
          Tensor2D,
          Tensor2D,
        ];
        const tokens = tensor2d([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [2, 5], 'int32');
        for (const causal of [false, true]) {
          const mask = attentionMaskOf(tokens, shape.headCount, causal);
          const repeat = (rows: Tensor2D): Tensor2D => {
            const heads = [0, 0, 0, 1, 1, 1].map((head) => slice(rows, [0, head * headSize], [-1, headSize]));
            return concat(heads, 1);
          };
          const found = attention(q, k, v, mask, shape);
          const expected = attention(q, repeat(k), repeat(v), mask, { ...shape, keyValueHeadCount: 6 });
          assert.ok(largestDifference(found, expected) < 1e-5);
          checkGradients([q, k, v], (...parts) =>
            attention(parts[0] as Tensor2D, parts[1] as Tensor2D, parts[2] as Tensor2D, mask, shape),
          );
        }
      });
    });

    it('[DOP-2] queries may be fewer than the tokens that they see, with heads cut now or earlier', () => {
      const shape = { batchSize: 2, sequenceLength: 2, headCount: 4, keyValueHeadCount: 2 };
      tidy(() => {
        const q = randomTensor<Tensor2D>([4, 16], random);
        const [k, v] = [randomTensor<Tensor2D>([10, 8], random), randomTensor<Tensor2D>([10, 8], random)];
        const mask = attentionMaskOf(tensor2d(new Int32Array(10).fill(1), [2, 5], 'int32'), 4, false);
        const whole = attention(q, k, v, mask, shape);
        checkGradients([q, k, v], (...parts) =>
          attention(parts[0] as Tensor2D, parts[1] as Tensor2D, parts[2] as Tensor2D, mask, shape),
        );
        assert.ok(largestDifference(attentionOnSeen(q, seenHeads(k, v, shape), null, shape), whole) < 1e-5);
      });
    });

    it('[TRB-1] rows of a trained table get the sum of their gradients', () => {
      tidy(() => {
        const table = randomTensor<Tensor2D>([6, 3], random);
        const indices = tensor1d([4, 0, 4, 4, 2], 'int32');
        assert.ok(largestDifference(trainableRows(table, indices), gather(table, indices)) === 0);
        checkGradients([table], (from) => trainableRows(from as Tensor2D, indices));
      });
    });

    it('[TRB-2] what stands in for a frozen tensor is used and gets a gradient; the rest stays as it was', () => {
      tidy(() => {
        const x = randomTensor<Tensor2D>([5, 6], random);
        const [weight, bias] = [randomTensor<Tensor2D>([6, 4], random), randomTensor<Tensor1D>([4], random)];
        const [kernel, own] = [randomTensor<Tensor2D>([6, 4], random), randomTensor<Tensor1D>([4], random)];
        const map = frozenLinear(weight, bias);
        assert.ok(largestDifference(map.apply(x, { kernel }), add(matMul(x, kernel), bias)) < 1e-5);
        assert.ok(largestDifference(map.apply(x, { bias: own }), add(matMul(x, weight), own)) < 1e-5);
        assert.ok(largestDifference(map.apply(x, {}), map.apply(x)) < 1e-5);
        checkGradients([x, kernel, own], (input, k, b) =>
          map.apply(input as Tensor2D, { kernel: k as Tensor2D, bias: b as Tensor1D }),
        );
        checkGradients([x, own], (input, b) => map.apply(input as Tensor2D, { bias: b as Tensor1D }));
        map.dispose();
        const [embedding, other] = [randomTensor<Tensor2D>([7, 6], random), randomTensor<Tensor2D>([7, 6], random)];
        const [scores, ownScores] = [randomTensor<Tensor1D>([7], random), randomTensor<Tensor1D>([7], random)];
        const output = tiedOutput(embedding, scores);
        assert.ok(
          largestDifference(output.apply(x, { embedding: other }), add(matMul(x, transpose(other)), scores)) < 1e-5,
        );
        assert.ok(
          largestDifference(output.apply(x, { bias: ownScores }), add(matMul(x, transpose(embedding)), ownScores)) <
            1e-5,
        );
        checkGradients([x, other, ownScores], (input, e, b) =>
          output.apply(input as Tensor2D, { embedding: e as Tensor2D, bias: b as Tensor1D }),
        );
        output.dispose();
        const norm = frozenNorm(randomTensor<Tensor1D>([6], random), randomTensor<Tensor1D>([6], random), 1e-3);
        const [gain, shift] = [randomTensor<Tensor1D>([6], random), randomTensor<Tensor1D>([6], random)];
        assert.ok(largestDifference(norm.apply(x, {}), norm.apply(x)) < 1e-5);
        const expected = frozenNorm(gain.clone(), shift.clone(), 1e-3);
        assert.ok(largestDifference(norm.apply(x, { gain, bias: shift }), expected.apply(x)) < 1e-5);
        checkGradients([x, gain, shift], (input, g, b) =>
          norm.apply(input as Tensor2D, { gain: g as Tensor1D, bias: b as Tensor1D }),
        );
      });
    });
  });
}
