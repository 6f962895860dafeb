/** Matrix products on the engine, with transposed operands as they are, and with bias and activation in the same graph. */
import { broadcast_util as broadcasting, type TensorInfo } from '@tensorflow/tfjs-core';
import { type Call, floats, floatValue, type Kernels } from './kernels.ts';
import type { OnnxNode } from './onnx.ts';
import { microsoftNode, node, program } from './programs.ts';

/** Activations that follow a product in its graph, by the library's name. */
const activations: Readonly<Record<string, string>> = {
  relu: 'Relu',
  sigmoid: 'Sigmoid',
  elu: 'Elu',
};

/** Products with fewer operations than this are not worth several threads. */
const heavyOperationsMin = 2 ** 20;

interface ProductAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Whether `b`, which never changes, is to be packed. */
  readonly packs?: boolean | undefined;
}

/** `BatchMatMul` and `_FusedMatMul`. */
export const productKernels: Kernels = {
  BatchMatMul: (call) => multiply(call, null),
  _FusedMatMul: (call) => {
    const { activation } = call.attrs as { readonly activation?: string | null };
    if (activation == null || activation === 'linear') return multiply(call, null);
    const op = activations[activation];
    return op === undefined ? null : multiply(call, op);
  },
};

function multiply({ inputs: { a, b, bias }, attrs, backend }: Call, activation: string | null): TensorInfo | null {
  const { transposeA, transposeB, packs } = attrs as unknown as ProductAttributes;
  const left = floats(backend, a);
  const right = floats(backend, b);
  if (left === null || right === null) return null;
  const added = bias === undefined ? null : floats(backend, bias);
  if (bias !== undefined && added === null) return null;
  const [aShape, bShape] = [a!.shape, b!.shape];
  const [m, k] = lastTwo(aShape, transposeA);
  const [, n] = lastTwo(bShape, transposeB);
  const batches = broadcasting.assertAndGetBroadcastShape(aShape.slice(0, -2), bShape.slice(0, -2));
  const isSingle = isOne(aShape) && isOne(bShape);
  const { values, info } = backend.output([...batches, m, n]);
  if (values.length === 0) return info;
  const operations = 2 * values.length * k;
  const isHeavy = operations >= heavyOperationsMin;
  const kind = `${isSingle ? 'single' : 'batch'} ${transposeA} ${transposeB} ${added !== null} ${activation} ${isHeavy}`;
  const chosen = program(`product ${kind}`, isHeavy, () => ({
    inputs: added === null ? ['a', 'b'] : ['a', 'b', 'c'],
    outputs: ['y'],
    nodes: nodesOf({ transposeA, transposeB, isSingle, isBiased: added !== null, activation }),
  }));
  const aDims = isSingle ? aShape.slice(-2) : aShape;
  const bDims = isSingle ? bShape.slice(-2) : bShape;
  const first = floatValue(left, aDims);
  const matrix = floatValue(right, bDims);
  const rest = added === null ? [] : [floatValue(added, bias!.shape)];
  const results = [floatValue(values, isSingle ? [m, n] : info.shape)];
  const packed = packs && isSingle ? backend.packed?.find({ dataId: b!.dataId, program: chosen, matrix }) : null;
  if (packed == null) backend.engine.run(chosen, [first, matrix, ...rest], results);
  else packed.run([first, ...rest], results);
  return info;
}

interface ProductForm extends ProductAttributes {
  readonly isSingle: boolean;
  readonly isBiased: boolean;
  readonly activation: string | null;
}

function nodesOf({ transposeA, transposeB, isSingle, isBiased, activation }: ProductForm): OnnxNode[] {
  const transposed = { transA: Number(transposeA), transB: Number(transposeB) };
  const last = activation === null ? 'y' : 'p';
  const nodes: OnnxNode[] = [];
  if (isSingle) nodes.push(node('Gemm', isBiased ? ['a', 'b', 'c'] : ['a', 'b'], last, transposed));
  else {
    const bare = isBiased ? 'q' : last;
    nodes.push(
      transposeA || transposeB
        ? microsoftNode('FusedMatMul', ['a', 'b'], bare, transposed)
        : node('MatMul', ['a', 'b'], bare),
    );
    if (isBiased) nodes.push(node('Add', [bare, 'c'], last));
  }
  if (activation !== null) nodes.push(node(activation, [last], 'y'));
  return nodes;
}

function lastTwo(shape: readonly number[], isTransposed: boolean): readonly [number, number] {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  return isTransposed ? [columns, rows] : [rows, columns];
}

/** Whether a tensor holds one matrix. */
function isOne(shape: readonly number[]): boolean {
  return shape.slice(0, -2).every((extent) => extent === 1);
}
