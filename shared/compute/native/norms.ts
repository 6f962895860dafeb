/**
 * Layer norm and root-mean-square norm over rows. Forward the engine's layer norm; the rest are vector kernels of WebAssembly on rows that are copied
 * there: a tenth of what a graph of ten nodes takes. Rows of other sizes than multiples of four, which no model has, are loops.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { overStagedRows } from '../simd/stage.ts';
import { fusedKernels } from './fused-names.ts';
import { type Call, floatValue, type Kernels } from './kernels.ts';
import { program } from './programs.ts';

/** Kernels by name; inputs are `[rows, size]`, gains `[size]`, statistics `[rows]`. */
export const normKernels: Kernels = {
  [fusedKernels.layerNorm]: layerNorm,
  [fusedKernels.layerNormGradient]: layerNormGradient,
  [fusedKernels.rmsNorm]: rmsNorm,
  [fusedKernels.rmsNormGradient]: rmsNormGradient,
};

interface Rows {
  readonly rowCount: number;
  readonly size: number;
  readonly values: (name: string) => Float32Array;
}

function open({ inputs, backend }: Call): Rows {
  const [rowCount, size] = inputs.x!.shape as [number, number];
  return { rowCount, size, values: (name) => backend.values(inputs[name]!) as Float32Array };
}

/** y, the rows' means and the inverses of their deviations. */
function layerNorm(call: Call): TensorInfo[] {
  const { backend, attrs } = call;
  const { rowCount, size, values } = open(call);
  const epsilon = attrs.epsilon as number;
  const outputs = [backend.output([rowCount, size]), backend.output([rowCount]), backend.output([rowCount])] as const;
  const chosen = program(`layer norm ${epsilon}`, false, () => ({
    inputs: ['x', 'gain', 'bias'],
    outputs: ['y', 'mean', 'inverse'],
    nodes: [
      {
        op: 'LayerNormalization',
        inputs: ['x', 'gain', 'bias'],
        outputs: ['y', 'mean', 'inverse'],
        attributes: { axis: -1, epsilon: { float: epsilon } },
      },
    ],
  }));
  if (rowCount > 0) {
    const [y, mean, inverse] = outputs;
    backend.engine.run(
      chosen,
      [
        floatValue(values('x'), [rowCount, size]),
        floatValue(values('gain'), [size]),
        floatValue(values('bias'), [size]),
      ],
      [
        floatValue(y.values, [rowCount, size]),
        floatValue(mean.values, [rowCount, 1]),
        floatValue(inverse.values, [rowCount, 1]),
      ],
    );
  }
  return outputs.map(({ info }) => info);
}

/** (g − mean(g) − x̂ ∘ mean(g ∘ x̂)) times the inverse deviation, with g = γ ∘ dy. */
function layerNormGradient(call: Call): TensorInfo {
  const { rowCount, size, values } = open(call);
  const [x, gain, upstream, means, inverses] = ['x', 'gain', 'upstream', 'mean', 'inverse'].map(values) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const { values: result, info } = call.backend.output([rowCount, size]);
  const isDone = overStagedRows(
    {
      rowCount,
      size,
      shared: [gain],
      inputs: [
        { values: x, size },
        { values: upstream, size },
        { values: means, size: 1 },
        { values: inverses, size: 1 },
      ],
      outputs: [{ values: result, size, over: 1 }],
    },
    (kernels, [gainAt, xAt, upstreamAt, meansAt, inversesAt, resultAt], rows) =>
      kernels['layer norm gradient'](xAt!, gainAt!, upstreamAt!, meansAt!, inversesAt!, resultAt!, rows, 4 * size),
  );
  if (isDone) return info;
  for (let row = 0; row < rowCount; row++) {
    const start = row * size;
    const [mean, inverse] = [means[row]!, inverses[row]!];
    let sum = 0;
    let along = 0;
    for (let index = 0; index < size; index++) {
      const g = upstream[start + index]! * gain[index]!;
      sum += g;
      along += g * (x[start + index]! - mean);
    }
    const meanOfG = sum / size;
    const slope = (along * inverse * inverse) / size;
    for (let index = 0; index < size; index++) {
      const g = upstream[start + index]! * gain[index]!;
      result[start + index] = (g - meanOfG - (x[start + index]! - mean) * slope) * inverse;
    }
  }
  return info;
}

/** y, and the inverses of the rows' root mean squares. */
function rmsNorm(call: Call): TensorInfo[] {
  const { rowCount, size, values } = open(call);
  const [x, gain] = [values('x'), values('gain')];
  const epsilon = call.attrs.epsilon as number;
  const outputs = [call.backend.output([rowCount, size]), call.backend.output([rowCount])] as const;
  const [y, inverses] = [outputs[0].values, outputs[1].values];
  const isDone = overStagedRows(
    {
      rowCount,
      size,
      shared: [gain],
      inputs: [{ values: x, size }],
      outputs: [
        { values: y, size, over: 0 },
        { values: inverses, size: 1 },
      ],
    },
    (kernels, [gainAt, xAt, yAt, inversesAt], rows) =>
      kernels['rms norm'](xAt!, gainAt!, yAt!, inversesAt!, rows, 4 * size, epsilon),
  );
  if (isDone) return outputs.map(({ info }) => info);
  for (let row = 0; row < rowCount; row++) {
    const start = row * size;
    let sum = 0;
    // In float32, so that what overflows in the other forms does so here.
    for (let index = 0; index < size; index++) sum = Math.fround(sum + Math.fround(x[start + index]! ** 2));
    const inverse = 1 / Math.sqrt(sum / size + epsilon);
    inverses[row] = inverse;
    for (let index = 0; index < size; index++) y[start + index] = x[start + index]! * inverse * gain[index]!;
  }
  return outputs.map(({ info }) => info);
}

/** (g − x̂ ∘ mean(g ∘ x̂)) times the inverse root mean square, with g = γ ∘ dy. */
function rmsNormGradient(call: Call): TensorInfo {
  const { rowCount, size, values } = open(call);
  const [x, gain, upstream, inverses] = ['x', 'gain', 'upstream', 'inverse'].map(values) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const { values: result, info } = call.backend.output([rowCount, size]);
  const isDone = overStagedRows(
    {
      rowCount,
      size,
      shared: [gain],
      inputs: [
        { values: x, size },
        { values: upstream, size },
        { values: inverses, size: 1 },
      ],
      outputs: [{ values: result, size, over: 1 }],
    },
    (kernels, [gainAt, xAt, upstreamAt, inversesAt, resultAt], rows) =>
      kernels['rms norm gradient'](xAt!, gainAt!, upstreamAt!, inversesAt!, resultAt!, rows, 4 * size),
  );
  if (isDone) return info;
  for (let row = 0; row < rowCount; row++) {
    const start = row * size;
    const inverse = inverses[row]!;
    let along = 0;
    for (let index = 0; index < size; index++) along += upstream[start + index]! * gain[index]! * x[start + index]!;
    const slope = (along * inverse * inverse) / size;
    for (let index = 0; index < size; index++) {
      const g = upstream[start + index]! * gain[index]!;
      result[start + index] = (g - x[start + index]! * slope) * inverse;
    }
  }
  return info;
}
