/**
 * GELU in its two forms and SwiGLU's inner product, each one graph, with one for its gradient. Graphs of several nodes run on slices that stay
 * in the processor's cache: a million values at once would go to memory and back for every node.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { fusedKernels } from './fused-names.ts';
import { type Call, floatValue, type Kernels } from './kernels.ts';
import type { OnnxConstant, OnnxNode } from './onnx.ts';
import { node, type Program, program } from './programs.ts';

/** Values of one slice: 1 MiB of each of a graph's few arrays. */
const sliceValues = 2 ** 18;

/** Kernels by name. */
export const activationKernels: Kernels = {
  [fusedKernels.gelu]: (call) => overSlices(call, geluProgram(call), ['x'])[0]!,
  [fusedKernels.geluGradient]: (call) => overSlices(call, geluGradientProgram(call), ['x', 'upstream'])[0]!,
  [fusedKernels.gatedSilu]: (call) => overSlices(call, gatedSilu, ['gate', 'up'])[0]!,
  [fusedKernels.gatedSiluGradient]: (call) => overSlices(call, gatedSiluGradient, ['gate', 'up', 'upstream'], 2),
};

/** Runs an elementwise program on tensors of one shape. */
function overSlices(
  { inputs, backend }: Call,
  chosen: Program,
  names: readonly string[],
  resultCount = 1,
): TensorInfo[] {
  const arrays = names.map((name) => backend.values(inputs[name]!) as Float32Array);
  const results = Array.from({ length: resultCount }, () => backend.output(inputs[names[0]!]!.shape));
  const size = arrays[0]!.length;
  for (let start = 0; start < size; start += sliceValues) {
    const end = Math.min(size, start + sliceValues);
    const cut = (values: Float32Array) => floatValue(values.subarray(start, end), [end - start]);
    backend.engine.run(
      chosen,
      arrays.map(cut),
      results.map(({ values }) => cut(values)),
    );
  }
  return results.map(({ info }) => info);
}

function geluProgram({ attrs }: Call): Program {
  const approximate = attrs.approximate as 'none' | 'tanh';
  return program(`gelu ${approximate}`, false, () => ({
    inputs: ['x'],
    outputs: ['y'],
    nodes: [node('Gelu', ['x'], 'y', { approximate })],
  }));
}

const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** dy times Φ(x) + x φ(x), or times the slope of the other form: σ(u) + x σ(u) (1 − σ(u)) u' with u = √(8/π) (x + 0.044715 x³). */
function geluGradientProgram({ attrs }: Call): Program {
  const approximate = attrs.approximate as 'none' | 'tanh';
  return program(`gelu gradient ${approximate}`, false, () => {
    const isExact = approximate === 'none';
    const constants: Record<string, OnnxConstant> = isExact
      ? {
          half: { float: 0.5 },
          root: { float: Math.SQRT1_2 },
          minusHalf: { float: -0.5 },
          density: { float: 1 / Math.sqrt(2 * Math.PI) },
        }
      : {
          one: { float: 1 },
          linear: { float: 2 * tanhScale },
          cubic: { float: 2 * tanhScale * tanhCubic },
          cubicSlope: { float: 6 * tanhScale * tanhCubic },
        };
    const exact: OnnxNode[] = [
      node('Mul', ['x', 'root'], 'scaled'),
      node('Erf', ['scaled'], 'erf'),
      node('Mul', ['erf', 'half'], 'halved'),
      node('Add', ['halved', 'half'], 'distribution'),
      node('Mul', ['x', 'x'], 'squared'),
      node('Mul', ['squared', 'minusHalf'], 'exponent'),
      node('Exp', ['exponent'], 'bell'),
      node('Mul', ['bell', 'density'], 'phi'),
      node('Mul', ['x', 'phi'], 'tail'),
      node('Add', ['distribution', 'tail'], 'slope'),
    ];
    const approximated: OnnxNode[] = [
      node('Mul', ['x', 'x'], 'squared'),
      node('Mul', ['squared', 'cubic'], 'bent'),
      node('Add', ['bent', 'linear'], 'factor'),
      node('Mul', ['x', 'factor'], 'argument'),
      node('Sigmoid', ['argument'], 'gate'),
      node('Mul', ['squared', 'cubicSlope'], 'bentSlope'),
      node('Add', ['bentSlope', 'linear'], 'argumentSlope'),
      node('Sub', ['one', 'gate'], 'closed'),
      node('Mul', ['gate', 'closed'], 'gateSlope'),
      node('Mul', ['gateSlope', 'argumentSlope'], 'chained'),
      node('Mul', ['x', 'chained'], 'tail'),
      node('Add', ['gate', 'tail'], 'slope'),
    ];
    return {
      inputs: ['x', 'g'],
      outputs: ['y'],
      constants,
      nodes: [...(isExact ? exact : approximated), node('Mul', ['slope', 'g'], 'y')],
    };
  });
}

const gatedSilu = program('gated silu', false, () => ({
  inputs: ['a', 'b'],
  outputs: ['y'],
  nodes: [node('Sigmoid', ['a'], 's'), node('Mul', ['a', 's'], 'silu'), node('Mul', ['silu', 'b'], 'y')],
}));

/** da = dy b σ(a) (1 + a (1 − σ(a))), db = dy a σ(a). */
const gatedSiluGradient = program('gated silu gradient', false, () => ({
  inputs: ['a', 'b', 'g'],
  outputs: ['da', 'db'],
  constants: { one: { float: 1 } },
  nodes: [
    node('Sigmoid', ['a'], 's'),
    node('Mul', ['g', 's'], 'gs'),
    node('Sub', ['one', 's'], 'closed'),
    node('Mul', ['a', 'closed'], 'bent'),
    node('Add', ['bent', 'one'], 'slope'),
    node('Mul', ['gs', 'b'], 'gsb'),
    node('Mul', ['gsb', 'slope'], 'da'),
    node('Mul', ['gs', 'a'], 'db'),
  ],
}));
