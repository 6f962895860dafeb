/**
 * Attention over all heads as one graph, and its gradient as another; the equations stand in `../attention.ts`. Heads are cut out of rows inside the
 * graph. Shapes are inputs, so one compiled graph serves every batch.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { fusedKernels } from './fused-names.ts';
import { type Call, floatValue, type Kernels, shapeValue } from './kernels.ts';
import type { OnnxNode } from './onnx.ts';
import { type EngineValue, microsoftNode, node, type Program, program } from './programs.ts';

/** Kernels by name; `q`, `k` and `v` are rows of heads, or `qkv` holds all three side by side. */
export const attentionKernels: Kernels = {
  [fusedKernels.attention]: forward,
  [fusedKernels.attentionGradient]: backward,
};

/** Sizes of one call; `seen` is the number of keys of one sequence. */
interface Sizes {
  readonly batch: number;
  readonly sequence: number;
  readonly seen: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly isPacked: boolean;
}

function sizesOf({ inputs, attrs }: Call): Sizes {
  const { batchSize, sequenceLength, headCount, keyValueHeadCount } = attrs as unknown as {
    readonly batchSize: number;
    readonly sequenceLength: number;
    readonly headCount: number;
    readonly keyValueHeadCount: number;
  };
  const isPacked = inputs.qkv !== undefined;
  const width = isPacked ? inputs.qkv!.shape[1]! / 3 : inputs.q!.shape[1]!;
  return {
    batch: batchSize,
    sequence: sequenceLength,
    seen: (inputs.mask ?? inputs.probabilities)!.shape[2]!,
    heads: headCount,
    keyValueHeads: keyValueHeadCount,
    headSize: width / headCount,
    isPacked,
  };
}

/** Scores that are computed at once: a graph of many nodes on all examples would go to memory and back for every node. */
const scoresAtOnce = 2 ** 17;

/** Calls `run` with stretches of the batch, and with a cut of what holds so many equal parts for the whole batch. */
function overExamples(
  sizes: Sizes,
  run: (stretch: Sizes, cut: (values: Float32Array, shape: readonly number[]) => EngineValue) => void,
): void {
  const { batch, sequence, seen, heads } = sizes;
  const count = Math.max(1, Math.floor(scoresAtOnce / (heads * sequence * seen)));
  for (let start = 0; start < batch; start += count) {
    const size = Math.min(count, batch - start);
    run({ ...sizes, batch: size }, (values, [rows, ...rest]) => {
      const each = values.length / batch;
      return floatValue(values.subarray(start * each, (start + size) * each), [(rows! / batch) * size, ...rest]);
    });
  }
}

/** The result `[batch * sequence, heads * headSize]`, and the probabilities `[batch * keyValueHeads, group * sequence, seen]`. */
function forward(call: Call): TensorInfo[] {
  const { backend, inputs } = call;
  const sizes = sizesOf(call);
  const { batch, sequence, seen, heads, keyValueHeads, headSize } = sizes;
  const mixed = backend.output([batch * sequence, heads * headSize]);
  const probabilities = backend.output([batch * keyValueHeads, (heads / keyValueHeads) * sequence, seen]);
  const isMasked = (backend.values(inputs.mask!) as Float32Array).some((added) => added !== 0);
  overExamples(sizes, (stretch, cut) => {
    const value = (name: string) => cut(backend.values(inputs[name]!) as Float32Array, inputs[name]!.shape);
    backend.engine.run(
      forwardProgram(sizes, isMasked),
      [
        ...namesOf(sizes).map(value),
        ...(isMasked ? [value('mask')] : []),
        ...shapesOf(stretch),
        ...(isMasked ? [shapeValue([stretch.batch * heads, sequence, seen])] : []),
      ],
      [mixed, probabilities].map(({ values, info }) => cut(values, info.shape)),
    );
  });
  return [mixed.info, probabilities.info];
}

/** Gradients of what the forward pass got, in its shapes. */
function backward(call: Call): TensorInfo[] {
  const { backend, inputs } = call;
  const sizes = sizesOf(call);
  const names = namesOf(sizes);
  const results = names.map((name) => backend.output(inputs[name]!.shape));
  overExamples(sizes, (stretch, cut) => {
    const value = (name: string) => cut(backend.values(inputs[name]!) as Float32Array, inputs[name]!.shape);
    backend.engine.run(
      backwardProgram(sizes),
      [...names, 'probabilities', 'output', 'upstream'].map(value).concat(shapesOf(stretch)),
      results.map(({ values, info }) => cut(values, info.shape)),
    );
  });
  return results.map(({ info }) => info);
}

function namesOf({ isPacked }: Sizes): readonly string[] {
  return isPacked ? ['qkv'] : ['q', 'k', 'v'];
}

const shapeNames = ['queryRows', 'queryHeads', 'queryStack', 'keyHeads', 'keyRows', 'keyStack'] as const;

/** Shapes by {@link shapeNames}: rows, rows cut into heads, and one matrix per key-value head; of queries and of keys. */
function shapesOf({ batch, sequence, seen, heads, keyValueHeads, headSize }: Sizes) {
  const stacked = batch * keyValueHeads;
  return [
    shapeValue([batch * sequence, heads * headSize]),
    shapeValue([batch, sequence, heads, headSize]),
    shapeValue([stacked, (heads / keyValueHeads) * sequence, headSize]),
    shapeValue([batch, seen, keyValueHeads, headSize]),
    shapeValue([batch * seen, keyValueHeads * headSize]),
    shapeValue([stacked, seen, headSize]),
  ];
}

const shapeInputs = shapeNames.map((name) => [name, 'int64'] as const);

/** Rows of heads → one matrix per key-value head. */
function split(rows: string, heads: 'query' | 'key', output: string): OnnxNode[] {
  return [
    node('Reshape', [rows, `${heads}Heads`], `${output}Cut`),
    node('Transpose', [`${output}Cut`], `${output}Turned`, { perm: [0, 2, 1, 3] }),
    node('Reshape', [`${output}Turned`, `${heads}Stack`], output),
  ];
}

/** The way back. */
function merge(stack: string, heads: 'query' | 'key', output: string): OnnxNode[] {
  return [
    node('Reshape', [stack, `${heads}Apart`], `${output}Turned`),
    node('Transpose', [`${output}Turned`], `${output}Cut`, { perm: [0, 2, 1, 3] }),
    node('Reshape', [`${output}Cut`, `${heads}Rows`], output),
  ];
}

/** Shapes `[batch, heads, rows, headSize]`, from `[batch, rows, heads, headSize]`. */
function apart(heads: 'query' | 'key'): OnnxNode {
  return node('Gather', [`${heads}Heads`, 'turn'], `${heads}Apart`);
}

const turn = { turn: { integers: [0, 2, 1, 3] } };

function unpacked(isPacked: boolean): OnnxNode[] {
  return isPacked
    ? [{ op: 'Split', inputs: ['qkv'], outputs: ['q', 'k', 'v'], attributes: { axis: 1, num_outputs: 3 } }]
    : [];
}

function stacks(): OnnxNode[] {
  return [...split('q', 'query', 'queries'), ...split('k', 'key', 'keys'), ...split('v', 'key', 'values')];
}

/** @param isMasked whether the mask hides anything: adding nothing takes as long as the softmax. */
function forwardProgram(sizes: Sizes, isMasked: boolean): Program {
  const { headSize, isPacked } = sizes;
  return program(`attention ${headSize} ${isPacked} ${isMasked}`, true, () => ({
    inputs: isMasked
      ? [...namesOf(sizes), 'mask', ...shapeInputs, ['scoreShape', 'int64']]
      : [...namesOf(sizes), ...shapeInputs],
    outputs: ['y', 'p'],
    constants: turn,
    nodes: [
      ...unpacked(isPacked),
      ...stacks(),
      microsoftNode('FusedMatMul', ['queries', 'keys'], 'scores', { transB: 1, alpha: scaleOf(headSize) }),
      ...(isMasked
        ? [
            node('Reshape', ['scores', 'scoreShape'], 'byHead'),
            node('Add', ['byHead', 'mask'], 'masked'),
            node('Softmax', ['masked'], 'probabilities', { axis: -1 }),
            node('Shape', ['scores'], 'stackedShape'),
            node('Reshape', ['probabilities', 'stackedShape'], 'p'),
          ]
        : [node('Softmax', ['scores'], 'p', { axis: -1 })]),
      node('MatMul', ['p', 'values'], 'mixed'),
      apart('query'),
      ...merge('mixed', 'query', 'y'),
    ],
  }));
}

function backwardProgram(sizes: Sizes): Program {
  const { headSize, isPacked } = sizes;
  const gradients = isPacked ? ['gq', 'gk', 'gv'] : ['dq', 'dk', 'dv'];
  return program(`attention gradient ${headSize} ${isPacked}`, true, () => ({
    inputs: [...namesOf(sizes), 'p', 'o', 'g', ...shapeInputs],
    outputs: isPacked ? ['dqkv'] : gradients,
    constants: { ...turn, last: { integers: [-1] } },
    nodes: [
      ...unpacked(isPacked),
      ...stacks(),
      ...split('g', 'query', 'upstream'),
      ...split('o', 'query', 'output'),
      node('Mul', ['upstream', 'output'], 'product'),
      node('ReduceSum', ['product', 'last'], 'sums', { keepdims: 1 }),
      microsoftNode('FusedMatMul', ['upstream', 'values'], 'dp', { transB: 1 }),
      node('Sub', ['dp', 'sums'], 'centred'),
      node('Mul', ['p', 'centred'], 'ds'),
      microsoftNode('FusedMatMul', ['ds', 'keys'], 'dqueries', { alpha: scaleOf(headSize) }),
      microsoftNode('FusedMatMul', ['ds', 'queries'], 'dkeys', { transA: 1, alpha: scaleOf(headSize) }),
      microsoftNode('FusedMatMul', ['p', 'upstream'], 'dvalues', { transA: 1 }),
      apart('query'),
      apart('key'),
      ...merge('dqueries', 'query', gradients[0]!),
      ...merge('dkeys', 'key', gradients[1]!),
      ...merge('dvalues', 'key', gradients[2]!),
      ...(isPacked ? [node('Concat', gradients, 'dqkv', { axis: 1 })] : []),
    ],
  }));
}

function scaleOf(headSize: number): { readonly float: number } {
  return { float: 1 / Math.sqrt(headSize) };
}
