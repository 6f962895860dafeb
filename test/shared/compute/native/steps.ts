/** Training steps of a small network on the current back end, with every fused operation in them. */
import { type Scalar, type Tensor1D, type Tensor2D, type Tensor3D, tensor, tidy, zeros } from '@tensorflow/tfjs-core';
import { attention } from '../../../../shared/compute/attention.ts';
import { geluErf } from '../../../../shared/compute/gelu.ts';
import { frozenNorm } from '../../../../shared/compute/layer-norm.ts';
import { trainableLinear } from '../../../../shared/compute/products.ts';
import { valueAndGradients } from '../../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../../shared/core/random.ts';

const shape = { batchSize: 2, sequenceLength: 16, headCount: 2, keyValueHeadCount: 2 };
const width = 32;

/** Runs `count` forward and backward passes and frees all of it. */
export async function runSteps(count: number): Promise<void> {
  const random = seededRandom(3, 'native-steps');
  const drawn = (...extents: number[]) =>
    tensor(
      Float32Array.from({ length: extents.reduce((a, b) => a * b) }, () => random.normal()),
      extents,
    );
  const rows = drawn(shape.batchSize * shape.sequenceLength, width) as Tensor2D;
  const weight = drawn(width, width) as Tensor2D;
  const bias = drawn(width) as Tensor1D;
  const mask = zeros([shape.batchSize * shape.headCount, 1, shape.sequenceLength]) as Tensor3D;
  const norm = frozenNorm(drawn(width) as Tensor1D, drawn(width) as Tensor1D, 1e-5);
  for (let step = 0; step < count; step++) {
    tidy(() => {
      const loss = (w: Tensor2D, c: Tensor1D): Scalar => {
        const inner = geluErf(trainableLinear(rows, w, c));
        return norm
          .apply(attention(inner, inner, inner, mask, shape))
          .square()
          .sum();
      };
      const { gradients } = valueAndGradients(loss, [weight, bias] as const);
      for (const gradient of gradients) gradient.dataSync();
    });
  }
  norm.dispose();
  for (const one of [rows, weight, bias, mask]) one.dispose();
}
