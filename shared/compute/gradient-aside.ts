/** Gradients that are computed while another one is being recorded, without being recorded themselves. */
import { clone, concat, engine, mul, type Scalar, slice, stack, sum, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import { valueAndGradients } from './value-and-gradients.ts';

/** What {@link sumOverRows} needs. */
export interface RowLoss {
  /** Rows that are computed at once. */
  readonly rowsMax: number;
  /** The loss of rows `[count, size]`, the first of which is row `start`. Nothing that is trained may enter it but its argument. */
  readonly lossOf: (rows: Tensor2D, start: number) => Scalar;
}

/**
 * The sum of a loss over the rows of `matrix` `[rows, size]`, with its gradient, some rows at a time: of what is computed on the way nothing
 * outlives its rows. For losses behind wide outputs, such as a vocabulary, whose scores would not fit into memory for all rows at once. Each
 * product is computed once, since a row's gradient is computed together with its loss.
 */
export function sumOverRows(matrix: Tensor2D, { rowsMax, lossOf }: RowLoss): Scalar {
  const [rowCount, size] = matrix.shape;
  const parts = aside(() =>
    tidy(() => {
      const values: Scalar[] = [];
      const gradients: Tensor2D[] = [];
      for (let start = 0; start < rowCount; start += rowsMax) {
        const rows = slice(matrix, [start, 0], [Math.min(rowsMax, rowCount - start), size]);
        const own = valueAndGradients((x: Tensor2D) => lossOf(x, start), [rows] as const);
        values.push(own.value);
        gradients.push(...own.gradients);
      }
      return { value: sum(stack(values)) as Scalar, gradient: concat(gradients, 0) as Tensor2D };
    }),
  );
  return withGradient<[Tensor2D], Scalar>([matrix], () => ({
    value: clone(parts.value),
    saved: [parts.gradient],
    backward: (upstream: Scalar, [gradient]) => [mul(gradient!, upstream)],
  }));
}

/** Runs `compute` as if no gradient were being recorded; the recording goes on afterwards. */
function aside<Result>(compute: () => Result): Result {
  const { state } = engine();
  const { activeTape, gradientDepth } = state;
  state.gradientDepth = 0;
  try {
    return compute();
  } finally {
    state.gradientDepth = gradientDepth;
    state.activeTape = activeTape;
  }
}
