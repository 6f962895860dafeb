import { strict as assert } from 'node:assert';
import {
  grads,
  matMul,
  mul,
  slice,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { groupedLinear } from '../../../shared/compute/grouped-linear.ts';
import { addRows, takeRows } from '../../../shared/compute/rows.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { assertClose, randomMatrix } from '../adapters/checks.ts';

for (const backend of ['wasm', 'cpu'] as const) {
  describe(`rows on ${backend}`, () => {
    before(() => useBackend(backend));
    const matrix = () => tensor2d([1, 2, 3, 4, 5, 6, 7, 8], [4, 2]);

    it('[CRW-1] takes rows in any order, one or many times', () => {
      assert.deepEqual([...takeRows(matrix(), [2, 0, 2]).dataSync()], [5, 6, 1, 2, 5, 6]);
      assert.deepEqual([...takeRows(matrix(), [1, 2]).dataSync()], [3, 4, 5, 6]);
    });

    it('[CRW-2] adds rows up where they go; the others are zero', () => {
      assert.deepEqual([...addRows(matrix(), [1, 3, 1, 1], 5).dataSync()], [0, 0, 13, 16, 0, 0, 3, 4, 0, 0]);
      assert.deepEqual([...addRows(matrix(), [0, 1, 2, 3], 4).dataSync()], [...matrix().dataSync()]);
    });

    it('[CRW-3] each is the gradient of the other', () => {
      const rows = [2, 0, 2];
      const weights = tensor2d([1, 10, 2, 20, 3, 30], [3, 2]);
      const [taken] = grads((x: Tensor) => sum(mul(takeRows(x as Tensor2D, rows), weights)))([matrix()]);
      assert.deepEqual([...taken!.dataSync()], [2, 20, 0, 0, 4, 40, 0, 0]);
      const upstream = matrix();
      const [added] = grads((x: Tensor) => sum(mul(addRows(x as Tensor2D, rows, 4), upstream)))([weights]);
      assert.deepEqual([...added!.dataSync()], [5, 6, 1, 2, 5, 6]);
    });

    it('[CRW-4] grouped maps and their gradients are those of each map on its own rows', () => {
      const random = seededRandom(6);
      const counts = [3, 1, 2];
      const x = randomMatrix(6, 4, random);
      const weights = counts.map(() => randomMatrix(4, 3, random));
      const biases = counts.map(() => tensor([0.1, -0.2, 0.3]) as Tensor1D);
      const probe = randomMatrix(6, 3, random);
      const groups = (all: readonly Tensor[]) =>
        counts.map((count, index) => {
          return { count, weight: all[index + 1] as Tensor2D, bias: all[index + 4] as Tensor1D };
        });
      const grouped = (...all: Tensor[]) => sum(mul(groupedLinear(all[0] as Tensor2D, groups(all)), probe));
      const plain = (...all: Tensor[]) => {
        const starts = [0, 3, 4];
        const parts = groups(all).map(({ count, weight, bias }, index) => {
          const rows = (whole: Tensor2D) => slice(whole, [starts[index]!, 0], [count, -1]);
          return sum(mul(matMul(rows(all[0] as Tensor2D), weight).add(bias), rows(probe)));
        });
        return parts.reduce((left, right) => left.add(right));
      };
      const leaves = [x, ...weights, ...biases];
      assertClose(grouped(...leaves).dataSync(), [...plain(...leaves).dataSync()], 1e-5);
      const [found, expected] = [grads(grouped as never)(leaves), grads(plain as never)(leaves)];
      for (const [index, gradient] of found.entries())
        assertClose(gradient.dataSync(), [...expected[index]!.dataSync()], 1e-5);
      assert.throws(
        () => groupedLinear(x, [{ count: 5, weight: weights[0]!, bias: biases[0]! }]),
        /the groups have 5 rows, the input 6/,
      );
    });
  });
}
