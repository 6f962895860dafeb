/** Sums, means and extremes over axes, and the softmax over the last axis. */
import { backend_util as shapes, type TensorInfo, util } from '@tensorflow/tfjs-core';
import { type Call, floats, floatValue, type Kernel, type Kernels } from './kernels.ts';
import { node, program } from './programs.ts';

/** Inputs with fewer values are reduced by the plain back end. */
const valuesMin = 256;

/** Reductions by the library's names. */
export const reductionKernels: Kernels = {
  Sum: reduction('ReduceSum'),
  Mean: reduction('ReduceMean'),
  Max: extreme('ReduceMax'),
  Min: extreme('ReduceMin'),
  Softmax: softmax,
};

function reduction(op: string): Kernel {
  return ({ inputs: { x }, attrs, backend }: Call): TensorInfo | null => {
    const values = floats(backend, x);
    if (values === null || values.length < valuesMin) return null;
    const { axis, reductionIndices, keepDims } = attrs as {
      readonly axis?: number | number[];
      readonly reductionIndices?: number | number[];
      readonly keepDims?: boolean;
    };
    const axes = util.parseAxisParam(axis ?? reductionIndices ?? (undefined as never), x!.shape);
    const [bare] = shapes.computeOutAndReduceShapes(x!.shape, axes);
    const shape = keepDims === true ? shapes.expandShapeToKeepDim(bare, axes) : bare;
    const out = backend.output(shape);
    const chosen = program(`${op} ${axes.join(' ')}`, false, () => ({
      inputs: ['x'],
      outputs: ['y'],
      constants: { axes: { integers: axes } },
      nodes: [node(op, ['x', 'axes'], 'y', { keepdims: 0 })],
    }));
    backend.engine.run(chosen, [floatValue(values, x!.shape)], [floatValue(out.values, bare)]);
    return out.info;
  };
}

/** The engine passes over what is not a number, or not, by where it stands; the plain back end never does. */
function extreme(op: string): Kernel {
  const reduce = reduction(op);
  return (call) => {
    const values = floats(call.backend, call.inputs.x);
    return values === null || hasNaN(values) ? null : reduce(call);
  };
}

function hasNaN(values: Float32Array): boolean {
  for (let index = 0; index < values.length; index++) if (Number.isNaN(values[index])) return true;
  return false;
}

const softmaxProgram = program('softmax', false, () => ({
  inputs: ['x'],
  outputs: ['y'],
  nodes: [node('Softmax', ['x'], 'y', { axis: -1 })],
}));

function softmax({ inputs: { logits }, attrs, backend }: Call): TensorInfo | null {
  const values = floats(backend, logits);
  const { dim } = attrs as { readonly dim: number };
  if (values === null || (dim !== logits!.shape.length - 1 && dim !== -1)) return null;
  const out = backend.output(logits!.shape);
  const size = logits!.shape.at(-1)!;
  const dims = [values.length / size, size];
  backend.engine.run(softmaxProgram, [floatValue(values, dims)], [floatValue(out.values, dims)]);
  return out.info;
}
