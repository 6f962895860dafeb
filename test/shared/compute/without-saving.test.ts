/** Sums and shapes whose gradients need nothing of their operands. */
import { strict as assert } from 'node:assert';
import {
  add,
  engine,
  grads,
  memory,
  mul,
  reshape,
  type Scalar,
  sum,
  type Tensor,
  type Tensor2D,
  tensor2d,
  tidy,
} from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { valueAndGradients } from '../../../shared/compute/value-and-gradients.ts';
import { reshaped, residualSum } from '../../../shared/compute/without-saving.ts';
import { requireNative } from './native/available.ts';

const x = [1, -2, 3, Number.NaN, Number.POSITIVE_INFINITY, 6];
const y = [0.5, 4, -3, 1, Number.NEGATIVE_INFINITY, 2];
const upstream = [1, 2, 3, 4, 5, 6];

/** Tensors that the last recorded operation keeps for its gradient. */
function savedByLast(): number {
  return engine().state.activeTape.at(-1)!.saved?.length ?? 0;
}

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`operations that save nothing on ${backend}`, () => {
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });
    after(() => useBackend('cpu'));

    it('[WSV-1] a residual sum is the sum, and its gradient reaches both summands, one tensor twice too', () => {
      tidy(() => {
        const [a, b, g] = [x, y, upstream].map((values) => tensor2d(values, [2, 3])) as [Tensor2D, Tensor2D, Tensor2D];
        assert.deepEqual(residualSum(a, b).dataSync(), add(a, b).dataSync());
        const loss = (...[p, q]: readonly Tensor2D[]) => sum<Scalar>(mul(residualSum(p!, q!), g));
        for (const gradients of [
          grads((p, q) => loss(p as Tensor2D, q as Tensor2D))([a, b]),
          valueAndGradients(loss, [a, b]).gradients,
        ])
          assert.deepEqual(
            gradients.map((gradient) => [...gradient.dataSync()]),
            [upstream, upstream],
          );
        const twice = valueAndGradients((p: Tensor2D) => loss(p, residualSum(p, p)), [a] as const).gradients[0];
        assert.deepEqual(
          [...twice.dataSync()],
          upstream.map((slope) => 3 * slope),
        );
      });
    });

    it('[WSV-2] another shape has the same values, and its gradient the shape before', () => {
      tidy(() => {
        const [a, g] = [tensor2d(x, [2, 3]), tensor2d(upstream, [6, 1])];
        const found: Tensor2D = reshaped(a, [6, 1]);
        assert.deepEqual([found.shape, [...found.dataSync()]], [[6, 1], x]);
        const { gradients } = valueAndGradients((p: Tensor2D) => sum<Scalar>(mul(reshaped(p, [6, 1]), g)), [
          a,
        ] as const);
        assert.deepEqual([gradients[0].shape, [...gradients[0].dataSync()]], [[2, 3], upstream]);
      });
    });

    it('[WSV-3] neither keeps a tensor for its gradient, as the operations of the library do, and none is left afterwards', () => {
      const before = memory().numTensors;
      const kept: Record<string, number> = {};
      tidy(() => {
        const a = tensor2d(x, [2, 3]);
        const operations: Readonly<Record<string, (p: Tensor2D) => Tensor>> = {
          add: (p) => add(p, a),
          residualSum: (p) => residualSum(p, a),
          reshape: (p) => reshape(p, [3, 2]),
          reshaped: (p) => reshaped(p, [3, 2]),
        };
        for (const [name, operation] of Object.entries(operations)) {
          const loss = (p: Tensor): Scalar => {
            const result = operation(p as Tensor2D);
            kept[name] = savedByLast();
            return sum(result);
          };
          grads(loss)([tensor2d(y, [2, 3])]);
        }
      });
      assert.deepEqual(kept, { add: 2, residualSum: 0, reshape: 1, reshaped: 0 });
      assert.equal(memory().numTensors, before);
    });
  });
}
