/** Cross-entropy with its gradient: the engine's softmax with the extremes of every row, on rows that stay in the processor's cache; the rest in one loop. */
import { crossEntropyKernel, runCrossEntropy, type SoftmaxRows } from '../cross-entropy.ts';
import { floatHost, floatValue, type KernelHost, type Kernels } from './kernels.ts';
import { node, program } from './programs.ts';

/** Values that are softened at once: 1 MiB read and 1 MiB written. */
const sliceValues = 2 ** 18;

/** The kernel by its name. */
export const crossEntropyKernels: Kernels = {
  [crossEntropyKernel]: (call) =>
    runCrossEntropy({ ...floatHost(call), soften: (rows, size) => soften(call.backend, rows, size) }),
};

const softmaxWithExtremes = program('softmax with extremes', false, () => ({
  inputs: ['x'],
  outputs: ['y', 'score', 'share'],
  constants: { axes: { integers: [1] } },
  nodes: [
    node('Softmax', ['x'], 'y', { axis: -1 }),
    node('ReduceMax', ['x', 'axes'], 'score', { keepdims: 0 }),
    node('ReduceMax', ['y', 'axes'], 'share', { keepdims: 0 }),
  ],
}));

function soften({ engine }: KernelHost, { scores, shares, largestScores, largestShares }: SoftmaxRows, size: number) {
  const rowsMax = Math.max(1, Math.floor(sliceValues / size));
  for (let start = 0; start < largestScores.length; start += rowsMax) {
    const end = Math.min(largestScores.length, start + rowsMax);
    const matrix = (values: Float32Array) => floatValue(values.subarray(start * size, end * size), [end - start, size]);
    const column = (values: Float32Array) => floatValue(values.subarray(start, end), [end - start]);
    engine.run(softmaxWithExtremes, [matrix(scores)], [matrix(shares), column(largestScores), column(largestShares)]);
  }
}
