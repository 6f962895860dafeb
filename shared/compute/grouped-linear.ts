/**
 * Several linear maps side by side, each for rows of its own: what experts of a mixture compute. The cost is that of the rows, however many maps
 * there are.
 */
import {
  concat,
  fused,
  matMul,
  ones,
  reshape,
  slice,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { withGradient } from './custom-gradient.ts';
import { timesTransposed, transposedProduct } from './products.ts';

/** The next `count` rows, at least one, with their map. */
export interface RowGroup {
  readonly count: number;
  /** W `[in, out]` and c `[out]`; both get a gradient. */
  readonly weight: Tensor2D;
  readonly bias: Tensor1D;
}

/** y = x W_g + c_g for rows x of the group g. `input` `[rows, in]` holds the groups' rows one group after the other. → `[rows, out]` */
export function groupedLinear(input: Tensor2D, groups: readonly RowGroup[]): Tensor2D {
  const starts = groups.map((_, index) => groups.slice(0, index).reduce((sum, { count }) => sum + count, 0));
  const total = groups.reduce((sum, { count }) => sum + count, 0);
  assert(total === input.shape[0], `the groups have ${total} rows, the input ${input.shape[0]}`);
  // Rows of a group stand together, so that they are one piece of memory.
  const ofGroup = (matrix: Tensor2D, group: number): Tensor2D =>
    groups.length === 1 ? matrix : slice(matrix, [starts[group]!, 0], [groups[group]!.count, matrix.shape[1]]);
  const tensors: Tensor[] = [input, ...groups.map(({ weight }) => weight), ...groups.map(({ bias }) => bias)];
  return withGradient<readonly Tensor[], Tensor2D>(tensors, (...all) => {
    const [x, ...rest] = all as [Tensor2D, ...Tensor[]];
    const weights = rest.slice(0, groups.length) as Tensor2D[];
    const biases = rest.slice(groups.length) as Tensor1D[];
    const results = weights.map((weight, group) => {
      return fused.matMul({ a: ofGroup(x, group), b: weight, bias: biases[group]! }) as Tensor2D;
    });
    return {
      value: concat(results, 0),
      saved: [x, ...weights],
      backward: (upstream: Tensor2D, saved) => {
        const [keptInput, ...keptWeights] = saved as [Tensor2D, ...Tensor2D[]];
        const gradients = keptWeights.map((weight, group) => {
          const [own, ownInput] = [ofGroup(upstream, group), ofGroup(keptInput, group)];
          return {
            input: timesTransposed(own, weight),
            weight: transposedProduct(ownInput, own),
            bias: reshape(matMul(ones([1, own.shape[0]]), own), [-1]),
          };
        });
        return [
          concat(
            gradients.map((gradient) => gradient.input),
            0,
          ),
          ...gradients.map(({ weight }) => weight),
          ...gradients.map(({ bias }) => bias),
        ];
      },
    };
  });
}
