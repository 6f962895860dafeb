import { strict as assert } from 'node:assert';
import { mul, type Scalar, sum, type Tensor2D, type Tensor3D, tensor, tidy } from '@tensorflow/tfjs-core';
import { attention } from '../../../../shared/compute/attention.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { valueAndGradients } from '../../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import { requireNative } from './available.ts';

/** Eight examples are computed at once: the last stretch has one. */
const shape = { batchSize: 9, sequenceLength: 64, headCount: 4, keyValueHeadCount: 2 };
const rows = shape.batchSize * shape.sequenceLength;

describe('attention by stretches of examples', () => {
  for (const isMasked of [true, false])
    it(`[NSR-1] is that of the plain back end, gradients too, ${isMasked ? 'with' : 'without'} hidden tokens`, async function () {
      requireNative(this);
      const random = seededRandom(5, 'stretches');
      const drawn = (count: number) => Float32Array.from({ length: count }, () => random.normal());
      const values = [drawn(rows * 16), drawn(rows * 8), drawn(rows * 8), drawn(rows * 16)] as const;
      const isHidden = (place: number): boolean => isMasked && place % 64 > 40 + place / 256;
      const hidden = Float32Array.from({ length: 9 * 4 * 64 }, (_, place) => (isHidden(place) ? -1e9 : 0));
      const results: Float32Array[][] = [];
      for (const backend of ['cpu', 'native'] as const) {
        await useBackend(backend);
        results.push(
          tidy(() => {
            const [q, k, v, upstream] = values.map((one) =>
              tensor(one.slice(), [rows, one.length / rows]),
            ) as Tensor2D[];
            const mask = tensor(hidden.slice(), [shape.batchSize * shape.headCount, 1, 64]) as Tensor3D;
            const loss = (...[a, b, c]: readonly Tensor2D[]) =>
              sum<Scalar>(mul(attention(a!, b!, c!, mask, shape), upstream!));
            const { gradients } = valueAndGradients(loss, [q!, k!, v!]);
            return [attention(q!, k!, v!, mask, shape), ...gradients].map((one) => one.dataSync<'float32'>().slice());
          }),
        );
      }
      for (const [index, found] of results[1]!.entries()) {
        const error = found.reduce(
          (most, one, place) => Math.max(most, Math.abs(one - results[0]![index]![place]!)),
          0,
        );
        assert.ok(error < 1e-4, `result ${index} is off by ${error}`);
      }
      await useBackend('cpu');
    });
});
