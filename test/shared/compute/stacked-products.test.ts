import { strict as assert } from 'node:assert';
import {
  concat,
  grads,
  mul,
  reshape,
  slice,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { trainableLinear, trainableMatMul } from '../../../shared/compute/products.ts';
import { stackableLinear, stackableMatMul, transposedEach } from '../../../shared/compute/stacked-products.ts';
import { InvariantError } from '../../../shared/core/assert.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { largestDifference, randomTensor } from './finite-differences.ts';

const random = seededRandom(11, 'stacked');
const [clients, rowsEach] = [3, 4];

/** What `map` gives for every client by itself, one below the other. */
function each(inputs: readonly Tensor[], map: (x: Tensor2D, w: Tensor2D, c: Tensor1D) => Tensor2D): Tensor2D {
  const [x, w, c] = inputs as [Tensor2D, Tensor3D, Tensor2D];
  const [, inSize, outSize] = w.shape;
  const parts = Array.from({ length: clients }, (_, client) =>
    map(
      slice(x, [client * rowsEach, 0], [rowsEach, inSize]),
      reshape(slice(w, [client, 0, 0], [1, inSize, outSize]), [inSize, outSize]),
      reshape(slice(reshape(c, [-1]), client * outSize, outSize), [outSize]),
    ),
  );
  return concat(parts, 0);
}

for (const backend of ['cpu', 'wasm', 'native'] as const)
  describe(`stacked products on ${backend}`, () => {
    before(() => useBackend(backend));

    for (const [inSize, outSize] of [
      [6, 2],
      [2, 5],
    ] as const)
      it(`[STK-1] is each client's own map, with its gradients: ${inSize} to ${outSize}`, () => {
        tidy(() => {
          const x = randomTensor([clients * rowsEach, inSize], random);
          const w = randomTensor([clients, inSize, outSize], random);
          const c = randomTensor([clients, outSize], random);
          const upstream = randomTensor([clients * rowsEach, outSize], random);
          const forms = {
            product: [
              (...all: Tensor[]) => stackableMatMul(all[0] as Tensor2D, all[1] as Tensor3D),
              (...all: Tensor[]) => each([...all, c], (own, map) => trainableMatMul(own, map)),
              [x, w],
            ],
            map: [
              (...all: Tensor[]) => stackableLinear(all[0] as Tensor2D, all[1] as Tensor3D, all[2] as Tensor2D),
              (...all: Tensor[]) => each(all, trainableLinear),
              [x, w, c],
            ],
          } as const;
          for (const [stacked, apart, inputs] of Object.values(forms)) {
            assert.ok(largestDifference(stacked(...inputs), apart(...inputs)) < 1e-5);
            const gradientsOf = (run: (...all: Tensor[]) => Tensor) =>
              grads((...all: Tensor[]) => sum(mul(run(...all), upstream)))([...inputs]);
            const [found, expected] = [gradientsOf(stacked), gradientsOf(apart)];
            for (const [index, gradient] of expected.entries()) {
              assert.deepEqual(found[index]!.shape, inputs[index]!.shape);
              assert.ok(largestDifference(found[index]!, gradient) < 1e-5, `gradient ${index}`);
            }
          }
        });
      });

    it('[STK-2] one client goes the ordinary way, and rows that are no equal stretches are refused', () => {
      tidy(() => {
        const x = randomTensor([5, 4], random) as Tensor2D;
        const w = randomTensor([4, 3], random) as Tensor2D;
        assert.equal(largestDifference(stackableMatMul(x, w), trainableMatMul(x, w)), 0);
        assert.equal(largestDifference(transposedEach(w), transpose(w)), 0);
        assert.throws(() => stackableMatMul(x, randomTensor([2, 4, 3], random) as Tensor3D), InvariantError);
      });
    });
  });
