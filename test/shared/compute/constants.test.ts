import { strict as assert } from 'node:assert';
import { grads, mul, profile, sum, type Tensor, type Tensor1D, type Tensor2D, tensor } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { markConstant } from '../../../shared/compute/constants.ts';
import { trainableLinear } from '../../../shared/compute/products.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { assertClose, randomMatrix } from '../adapters/checks.ts';

describe('constants', () => {
  before(() => useBackend('wasm'));

  it('[CST-1] a map with constant weights gives its input the same gradient, with one product less for each of the others', async () => {
    const random = seededRandom(2);
    const [x, probe] = [randomMatrix(6, 4, random), randomMatrix(6, 3, random)];
    const made = () => ({
      w: tensor(
        Float32Array.from({ length: 12 }, (_, index) => index / 10),
        [4, 3],
      ) as Tensor2D,
      c: tensor([1, 2, 3]) as Tensor1D,
    });
    const run = async ({ w, c }: ReturnType<typeof made>) => {
      let gradient: number[] = [];
      const { kernels } = await profile(() => {
        const [found] = grads((input: Tensor) => sum(mul(trainableLinear(input as Tensor2D, w, c), probe)))([x]);
        gradient = [...found!.dataSync()];
        return found!;
      });
      return { gradient, products: kernels.filter(({ name }) => /MatMul/.test(name)).length };
    };
    const trained = await run(made());
    const constant = made();
    markConstant(constant.w);
    markConstant(constant.c);
    const found = await run(constant);
    assertClose(found.gradient, trained.gradient, 1e-6);
    assert.equal(found.products, trained.products - 2);
  });
});
