import { strict as assert } from 'node:assert';
import {
  add,
  div,
  erf,
  exp,
  gather,
  grads,
  matMul,
  memory,
  mul,
  reshape,
  softmax,
  split,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tanh,
  tensor1d,
  tensor2d,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { attention, fusedAttention } from '../../../shared/compute/attention.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { batchedProduct } from '../../../shared/compute/batched-product.ts';
import { geluErf, geluTanh } from '../../../shared/compute/gelu.ts';
import { frozenNorm } from '../../../shared/compute/layer-norm.ts';
import { frozenLinear, tiedOutput, trainableLinear, trainableMatMul } from '../../../shared/compute/products.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { attentionMaskOf } from '../../../shared/model/attention-mask.ts';
import { checkGradients, largestDifference, randomTensor } from './finite-differences.ts';
import { requireNative } from './native/available.ts';

const random = seededRandom(7, 'operations');
const shape = { batchSize: 2, sequenceLength: 5, headCount: 3, keyValueHeadCount: 3 };
const hiddenSize = 12;
const rowCount = shape.batchSize * shape.sequenceLength;

/** Attention as one writes it with the library alone. */
function plainAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor3D): Tensor {
  const { batchSize, sequenceLength, headCount } = shape;
  const heads = (rows: Tensor) =>
    reshape(transpose(reshape(rows, [batchSize, sequenceLength, headCount, -1]), [0, 2, 1, 3]), [
      batchSize * headCount,
      sequenceLength,
      -1,
    ]);
  const scores = div(matMul(heads(q), heads(k), false, true), Math.sqrt(hiddenSize / headCount));
  const mixed = matMul(softmax(add(scores, mask)), heads(v));
  return reshape(transpose(reshape(mixed, [batchSize, headCount, sequenceLength, -1]), [0, 2, 1, 3]), [
    rowCount,
    hiddenSize,
  ]);
}

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`fused operations on ${backend}`, () => {
    let tensorCount = 0;
    const owned: Tensor[] = [];
    const fresh = <Kind extends Tensor>(sizes: readonly number[], scale?: number): Kind => {
      const made = randomTensor<Kind>(sizes, random, scale);
      owned.push(made);
      return made;
    };
    /** The second text has two tokens of padding. */
    const maskOf = (causal: boolean): Tensor3D => {
      const tokens = tensor2d([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [shape.batchSize, shape.sequenceLength], 'int32');
      const mask = attentionMaskOf(tokens, shape.headCount, causal);
      owned.push(tokens, mask);
      return mask;
    };

    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });
    beforeEach(() => {
      tensorCount = memory().numTensors;
    });
    afterEach(() => {
      for (const made of owned.splice(0)) made.dispose();
      assert.equal(memory().numTensors, tensorCount, 'an operation leaves tensors behind');
    });

    it('[OPS-1] a frozen linear map equals x W + c and passes a gradient to x alone', () => {
      const weight = fresh<Tensor2D>([6, 4]);
      const bias = fresh<Tensor1D>([4]);
      const x = fresh<Tensor2D>([5, 6]);
      tidy(() => {
        const map = frozenLinear(weight.clone(), bias.clone());
        assert.ok(largestDifference(map.apply(x), add(matMul(x, weight), bias)) < 1e-5);
        checkGradients([x], (input) => map.apply(input as Tensor2D));
        map.dispose();
        const bare = frozenLinear(weight.clone(), null);
        assert.ok(largestDifference(bare.apply(x), matMul(x, weight)) < 1e-5);
        checkGradients([x], (input) => bare.apply(input as Tensor2D));
        bare.dispose();
      });
    });

    it('[OPS-2] an output matrix tied to an embedding equals x Eᵀ + c', () => {
      const embedding = fresh<Tensor2D>([7, 4]);
      const bias = fresh<Tensor1D>([7]);
      const x = fresh<Tensor2D>([5, 4]);
      const output = tiedOutput(embedding, bias.clone());
      tidy(() => {
        assert.ok(largestDifference(output.apply(x), add(matMul(x, transpose(embedding)), bias)) < 1e-5);
        checkGradients([x], (input) => output.apply(input as Tensor2D));
      });
      output.dispose();
    });

    it('[OPS-3] trainable products have gradients in both factors and the bias, whichever side is narrower', () => {
      for (const [inSize, outSize] of [
        [6, 3],
        [3, 6],
      ] as const) {
        const x = fresh<Tensor2D>([5, inSize]);
        const w = fresh<Tensor2D>([inSize, outSize]);
        const c = fresh<Tensor1D>([outSize]);
        tidy(() => assert.ok(largestDifference(trainableLinear(x, w, c), add(matMul(x, w), c)) < 1e-5));
        checkGradients([x, w], (...tensors) => trainableMatMul(...(tensors as [Tensor2D, Tensor2D])));
        checkGradients([x, w, c], (...tensors) => trainableLinear(...(tensors as [Tensor2D, Tensor2D, Tensor1D])));
      }
    });

    it('[OPS-4] many products at once equal the plain ones, of whole stacks and of selected matrices', () => {
      const a = fresh<Tensor3D>([4, 3, 5]);
      const b = fresh<Tensor3D>([6, 5, 2]);
      tidy(() => {
        const left = [0, 3, 3, 1];
        const right = [5, 0, 2, 2];
        const expected = matMul(gather(a, left), gather(b, right));
        assert.ok(largestDifference(batchedProduct(a, b, { a: left, b: right }), expected) < 1e-5);
        assert.ok(largestDifference(batchedProduct(a, b, { b: right }), matMul(a, gather(b, right))) < 1e-5);
        const selected = gather(b, right) as Tensor3D;
        assert.ok(largestDifference(batchedProduct(a, selected), matMul(a, selected)) < 1e-5);
      });
    });

    for (const causal of [false, true]) {
      it(`[OPS-5] attention equals the plain one, ${causal ? 'causal' : 'in both directions'}, with padding`, () => {
        const mask = maskOf(causal);
        const qkv = fresh<Tensor2D>([rowCount, 3 * hiddenSize]);
        tidy(() => {
          const [q, k, v] = split(qkv, 3, 1) as [Tensor2D, Tensor2D, Tensor2D];
          const expected = plainAttention(q, k, v, mask);
          assert.ok(largestDifference(attention(q, k, v, mask, shape), expected) < 1e-5);
          assert.ok(largestDifference(fusedAttention(qkv, mask, shape), expected) < 1e-5);
          checkGradients([q, k, v], (...parts) => {
            const [queries, keys, values] = parts as [Tensor2D, Tensor2D, Tensor2D];
            return attention(queries, keys, values, mask, shape);
          });
          checkGradients([qkv], (all) => fusedAttention(all as Tensor2D, mask, shape));
        });
      });
    }

    it('[OPS-6] attention gives exactly nothing to hidden tokens', () => {
      const mask = maskOf(true);
      const qkv = fresh<Tensor2D>([rowCount, 3 * hiddenSize]);
      tidy(() => {
        const gradientOf = grads((all: Tensor) =>
          sum(fusedAttention(all as Tensor2D, mask, shape).slice([5, 0], [3, hiddenSize])),
        );
        const [gradient] = gradientOf([qkv]);
        const padded = [...gradient!.slice([8, 0], [2, 3 * hiddenSize]).dataSync()];
        assert.ok(padded.every((value) => value === 0));
      });
    });

    it('[OPS-7] a frozen layer norm has mean β and deviation γ, and the right gradient', () => {
      const gain = fresh<Tensor1D>([8]);
      const bias = fresh<Tensor1D>([8]);
      const x = fresh<Tensor2D>([4, 8], 3);
      const norm = frozenNorm(gain.clone(), bias.clone(), 1e-5);
      tidy(() => {
        const centred = x.sub(x.mean(1, true));
        const expected = centred.div(centred.square().mean(1, true).add(1e-5).sqrt()).mul(gain).add(bias);
        assert.ok(largestDifference(norm.apply(x), expected) < 1e-5);
        checkGradients([x], (input) => norm.apply(input as Tensor2D));
      });
      norm.dispose();
    });

    it('[OPS-8] both GELUs are within 1e-6 of their definitions and saturate without becoming undefined', () => {
      const points = Float32Array.from({ length: 4001 }, (_, index) => (index - 2000) / 250);
      tidy(() => {
        const x = tensor1d(points);
        const exact = mul(mul(x, 0.5), add(1, erf(mul(x, Math.SQRT1_2))));
        const inner = mul(add(x, mul(x.pow(3), 0.044715)), Math.sqrt(2 / Math.PI));
        const approximate = mul(mul(x, 0.5), add(1, tanh(inner)));
        assert.ok(largestDifference(geluTanh(x), approximate) <= 1e-6);
        // The library's erf is itself good to 3e-7 only, and this multiplies it by up to 8.
        assert.ok(largestDifference(geluErf(x), exact) <= 3e-6);
        const known = [-0.158655254, 0.345731231, 1.954499736, -0.004049694];
        const found = geluErf(tensor1d([-1, 0.5, 2, -3])).dataSync();
        for (const [index, value] of known.entries()) assert.ok(Math.abs(found[index]! - value) <= 1e-6);
        const knownTanh = [-0.158808, 0.345714, 1.954598];
        const foundTanh = geluTanh(tensor1d([-1, 0.5, 2])).dataSync();
        for (const [index, value] of knownTanh.entries()) assert.ok(Math.abs(foundTanh[index]! - value) <= 1e-6);
        const far = tensor1d([-1e30, -200, -13, 13, 200, 1e30]);
        for (const gelu of [geluErf, geluTanh]) {
          const [first, second, third, ...last] = gelu(far).dataSync();
          assert.ok(
            [first, second, third].every((value) => value! > -1e-6 && value! <= 0),
            `${first} ${second} ${third}`,
          );
          assert.deepEqual(last, [13, 200, Math.fround(1e30)]);
        }
      });
    });

    it('[OPS-9] both GELUs have the gradient of their definitions', () => {
      const x = fresh<Tensor1D>([64], 2);
      for (const gelu of [geluErf, geluTanh]) checkGradients([x], (input) => gelu(input));
      tidy(() => {
        const far = tensor1d([-1e15, -30, 30, 1e15]);
        for (const gelu of [geluErf, geluTanh]) {
          const slopes = [...grads((input: Tensor) => sum(gelu(input)))([far])[0]!.dataSync()];
          for (const [index, slope] of [0, 0, 1, 1].entries())
            assert.ok(Math.abs(slopes[index]! - slope) < 1e-20, `${slopes[index]} at ${index}`);
        }
        const points = tensor1d(Float32Array.from({ length: 801 }, (_, index) => (index - 400) / 50));
        const density = mul(exp(mul(points.square(), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        const exact = add(mul(0.5, add(1, erf(mul(points, Math.SQRT1_2)))), mul(points, density));
        const found = grads((input: Tensor) => sum(geluErf(input)))([points])[0]!;
        assert.ok(largestDifference(found, exact) <= 2e-6);
      });
    });
  });
}
