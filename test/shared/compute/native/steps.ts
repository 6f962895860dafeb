/** Training steps of a small network on the current back end: fused operations, a frozen matrix that is packed, a loss, and the optimiser. */
import {
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor,
  tidy,
  zeros,
  zerosLike,
} from '@tensorflow/tfjs-core';
import { type AdamPart, adamStep } from '../../../../shared/compute/adam-step.ts';
import { attention } from '../../../../shared/compute/attention.ts';
import { crossEntropy } from '../../../../shared/compute/cross-entropy.ts';
import { geluErf } from '../../../../shared/compute/gelu.ts';
import { frozenNorm } from '../../../../shared/compute/layer-norm.ts';
import { frozenLinear, trainableLinear } from '../../../../shared/compute/products.ts';
import { valueAndGradients } from '../../../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../../../shared/core/random.ts';

const shape = { batchSize: 2, sequenceLength: 16, headCount: 2, keyValueHeadCount: 2 };
const rowCount = shape.batchSize * shape.sequenceLength;
const width = 32;
/** Enough for a matrix that is worth packing. */
const vocabularySize = 512;
const settings = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clipNorm: 1 };

/** Takes `count` steps, calls `atEnd`, and frees all of it. */
export async function runSteps(count: number, atEnd: () => void = () => {}): Promise<void> {
  const random = seededRandom(3, 'native-steps');
  const drawn = (...extents: number[]) =>
    tensor(
      Float32Array.from({ length: extents.reduce((a, b) => a * b) }, () => random.normal()),
      extents,
    );
  const rows = drawn(rowCount, width) as Tensor2D;
  const targets = Array.from({ length: rowCount }, () => random.integer(vocabularySize));
  const mask = zeros([shape.batchSize * shape.headCount, 1, shape.sequenceLength]) as Tensor3D;
  const norm = frozenNorm(drawn(width) as Tensor1D, drawn(width) as Tensor1D, 1e-5);
  const output = frozenLinear(drawn(width, vocabularySize) as Tensor2D, null);
  let trained: Tensor[] = [drawn(width, width), drawn(width)];
  const moments = trained.map((parameters) => [zerosLike(parameters), zerosLike(parameters)] as const);
  const loss = (w: Tensor2D, c: Tensor1D): Scalar => {
    const inner = geluErf(trainableLinear(rows, w, c));
    return crossEntropy(output.apply(norm.apply(attention(inner, inner, inner, mask, shape))), targets);
  };
  for (let step = 1; step <= count; step++) {
    const next = tidy(() => {
      const { gradients } = valueAndGradients(loss, trained as [Tensor2D, Tensor1D]);
      const parts = trained.map((parameters, index): AdamPart => {
        const [firstMoment, secondMoment] = moments[index]!;
        const gradient = gradients[index]!;
        return { parameters, gradient, firstMoment, secondMoment, stepCount: step, rate: 1e-3, decay: 1e-5 };
      });
      return adamStep(parts, settings);
    });
    for (const parameters of trained) parameters.dispose();
    trained = next;
    for (const parameters of trained) parameters.dataSync();
  }
  atEnd();
  for (const part of [norm, output]) part.dispose();
  for (const one of [rows, mask, ...trained, ...moments.flat()]) one.dispose();
}
