/**
 * Elementwise kernels on the engine, for float32 tensors of some size; small ones cost less in plain JavaScript. Comparisons and the step function
 * are loops here: the engine would need a second pass to turn truth values into numbers.
 */
import { broadcast_util as broadcasting, type TensorInfo } from '@tensorflow/tfjs-core';
import { type Call, floats, floatValue, type Kernel, type Kernels } from './kernels.ts';
import type { OnnxGraph } from './onnx.ts';
import { node, program } from './programs.ts';

/** Results with fewer values are computed by the plain back end. */
const valuesMin = 512;
/** The plain back end is slow at broadcasting. */
const broadcastValuesMin = 64;

/** Functions of one argument that the engine has under one name. */
const unary = {
  Abs: 'Abs',
  Exp: 'Exp',
  Log: 'Log',
  Neg: 'Neg',
  Reciprocal: 'Reciprocal',
  Relu: 'Relu',
  Sigmoid: 'Sigmoid',
  Sqrt: 'Sqrt',
  Tanh: 'Tanh',
  Erf: 'Erf',
} as const;

const binary = {
  Add: 'Add',
  Sub: 'Sub',
  Multiply: 'Mul',
  RealDiv: 'Div',
  Maximum: 'Max',
  Minimum: 'Min',
} as const;

/** Elementwise kernels by the library's names. */
export const elementwiseKernels: Kernels = {
  ...mapped(unary, (op) => ofOne(op, () => ({ inputs: ['x'], outputs: ['y'], nodes: [node(op, ['x'], 'y')] }))),
  ...mapped(binary, (op) =>
    ofTwo(op, () => ({ inputs: ['a', 'b'], outputs: ['y'], nodes: [node(op, ['a', 'b'], 'y')] })),
  ),
  Square: ofOne('square', () => ({ inputs: ['x'], outputs: ['y'], nodes: [node('Mul', ['x', 'x'], 'y')] })),
  Rsqrt: ofOne('rsqrt', () => ({
    inputs: ['x'],
    outputs: ['y'],
    nodes: [node('Sqrt', ['x'], 'r'), node('Reciprocal', ['r'], 'y')],
  })),
  SquaredDifference: ofTwo('squared difference', () => ({
    inputs: ['a', 'b'],
    outputs: ['y'],
    nodes: [node('Sub', ['a', 'b'], 'd'), node('Mul', ['d', 'd'], 'y')],
  })),
  Step: step,
  AddN: addUp,
};

function mapped(names: Readonly<Record<string, string>>, make: (op: string) => Kernel): Kernels {
  return Object.fromEntries(Object.entries(names).map(([name, op]) => [name, make(op)]));
}

function ofOne(key: string, graph: () => OnnxGraph): Kernel {
  return ({ inputs: { x }, backend }) => {
    const values = floats(backend, x);
    if (values === null || values.length < valuesMin) return null;
    const out = backend.output(x!.shape);
    const dims = [values.length];
    backend.engine.run(program(key, false, graph), [floatValue(values, dims)], [floatValue(out.values, dims)]);
    return out.info;
  };
}

function ofTwo(key: string, graph: () => OnnxGraph): Kernel {
  return ({ inputs: { a, b }, backend }) => {
    const left = floats(backend, a);
    const right = floats(backend, b);
    if (left === null || right === null) return null;
    const isEqual = sameShape(a!, b!);
    const size = Math.max(left.length, right.length);
    if (size < (isEqual || left.length === 1 || right.length === 1 ? valuesMin : broadcastValuesMin)) return null;
    const shape = isEqual ? a!.shape : broadcasting.assertAndGetBroadcastShape(a!.shape, b!.shape);
    const out = backend.output(shape);
    const flat = [out.values.length];
    backend.engine.run(
      program(key, false, graph),
      [floatValue(left, isEqual ? flat : a!.shape), floatValue(right, isEqual ? flat : b!.shape)],
      [floatValue(out.values, isEqual ? flat : shape)],
    );
    return out.info;
  };
}

function sameShape(a: TensorInfo, b: TensorInfo): boolean {
  return a.shape.length === b.shape.length && a.shape.every((extent, axis) => extent === b.shape[axis]);
}

/** 1 above 0, `alpha` elsewhere; not a number stays what it is. */
function step({ inputs: { x }, attrs: { alpha = 0 }, backend }: Call): TensorInfo | null {
  const values = floats(backend, x);
  if (values === null) return null;
  const { values: result, info } = backend.output(x!.shape);
  const below = alpha as number;
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    result[index] = value > 0 ? 1 : value <= 0 ? below : value;
  }
  return info;
}

/** The sum of tensors of one shape, in one pass for each. */
function addUp({ inputs, backend }: Call): TensorInfo | null {
  const all = Object.values(inputs).map((tensor) => floats(backend, tensor));
  if (all.some((values) => values === null)) return null;
  const [first, ...rest] = all as Float32Array[];
  const { values: result, info } = backend.output(Object.values(inputs)[0]!.shape);
  result.set(first!);
  for (const values of rest) for (let index = 0; index < result.length; index++) result[index]! += values[index]!;
  return info;
}
