/** For every kernel of the native back end, an operation that runs it, on shapes drawn at random. */
import * as tf from '@tensorflow/tfjs-core';
import { type AdamPart, adamStep } from '../../../../shared/compute/adam-step.ts';
import { attention, fusedAttention } from '../../../../shared/compute/attention.ts';
import { crossEntropy } from '../../../../shared/compute/cross-entropy.ts';
import { gatedSilu } from '../../../../shared/compute/gated-silu.ts';
import { geluErf, geluTanh } from '../../../../shared/compute/gelu.ts';
import { frozenNorm } from '../../../../shared/compute/layer-norm.ts';
import { frozenRmsNorm } from '../../../../shared/compute/rms-norm.ts';
import { addRows, takeRows } from '../../../../shared/compute/rows.ts';
import { valueAndGradients } from '../../../../shared/compute/value-and-gradients.ts';
import type { SeededRandom } from '../../../../shared/core/random.ts';
import type { Operation, Shape } from './agree.ts';

/** Few values; as many as models have; none at all. */
export type Extent = 'small' | 'large' | 'empty';

/** What is computed, of operands of which shapes. */
interface KernelCase {
  readonly operation: Operation;
  readonly shapes: readonly Shape[];
  /** Whether large values leave nothing but what rounding makes of them. */
  readonly isSensitive?: boolean;
  /** Relative to the largest value; 2e-6 by default. */
  readonly tolerance?: number;
}

/** Draws a case. */
export type DrawCase = (random: SeededRandom, extent: Extent) => KernelCase;

const between = (random: SeededRandom, low: number, high: number): number => low + random.integer(high - low + 1);
const pick = <Item>(random: SeededRandom, items: readonly Item[]): Item => items[random.integer(items.length)]!;

/** A shape with one to four axes, some of one. */
function shapeOf(random: SeededRandom, extent: Extent, rankMin = 1): number[] {
  const rank = between(random, rankMin, 4);
  const total = extent === 'large' ? 60_000 : 60;
  const shape = Array.from({ length: rank }, () => between(random, 1, Math.floor(total ** (1 / rank))));
  if (extent === 'empty') shape[random.integer(rank)] = 0;
  if (extent === 'large') shape[random.integer(rank)]! += 20;
  return shape;
}

/** A shape that broadcasts to the given one. */
function narrower(random: SeededRandom, shape: Shape): number[] {
  const kept = shape.map((size) => (random.uniform() < 0.4 ? 1 : size));
  return kept.slice(between(random, 0, shape.length));
}

const unary =
  (operation: (x: tf.Tensor) => tf.Tensor): DrawCase =>
  (random, extent) => ({ operation: (x) => operation(x!), shapes: [shapeOf(random, extent)] });

const binary =
  (operation: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): DrawCase =>
  (random, extent) => {
    const shape = shapeOf(random, extent);
    const other = random.uniform() < 0.3 ? shape : narrower(random, shape);
    return { operation: (a, b) => operation(a!, b!), shapes: random.uniform() < 0.5 ? [shape, other] : [other, shape] };
  };

const product =
  (isFused: boolean): DrawCase =>
  (random, extent) => {
    const most = extent === 'large' ? 90 : 7;
    const [m, n] = [between(random, 1, most), between(random, 1, most)];
    const k = extent === 'empty' ? 0 : between(random, 1, most);
    const [transposeA, transposeB] = [random.uniform() < 0.5, random.uniform() < 0.5];
    const batch = isFused || random.uniform() < 0.5 ? [] : [between(random, 1, 4)];
    const otherBatch = batch.length > 0 && random.uniform() < 0.5 ? [1] : batch;
    const shapes = [
      [...batch, ...(transposeA ? [k, m] : [m, k])],
      [...otherBatch, ...(transposeB ? [n, k] : [k, n])],
    ];
    if (!isFused)
      return {
        operation: (a, b) => tf.matMul(a!, b!, transposeA, transposeB),
        shapes,
        tolerance: 1e-5,
        isSensitive: true,
      };
    const activation = pick(random, ['linear', 'relu', 'sigmoid', 'elu', 'relu6'] as const);
    return {
      operation: (a, b, bias) => tf.fused.matMul({ a: a!, b: b!, bias: bias!, transposeA, transposeB, activation }),
      shapes: [...shapes, [n]],
      tolerance: 1e-5,
      isSensitive: true,
    };
  };

const reduction =
  (operation: (x: tf.Tensor, axes: number[], keepDims: boolean) => tf.Tensor): DrawCase =>
  (random, extent) => {
    const shape = shapeOf(random, extent);
    const axes = [...shape.keys()].filter(() => random.uniform() < 0.5);
    const keepDims = random.uniform() < 0.5;
    return {
      operation: (x) => operation(x!, axes.length > 0 ? axes : [shape.length - 1], keepDims),
      shapes: [shape],
      tolerance: 2e-5,
    };
  };

/** The operation and its gradients: the last operand is what comes from above. */
function withGradients(operation: (...tensors: tf.Tensor[]) => tf.Tensor): Operation {
  return (...tensors) => {
    const [inputs, upstream] = [tensors.slice(0, -1), tensors.at(-1)!];
    const loss = (...given: tf.Tensor[]) => tf.sum<tf.Scalar>(tf.mul(operation(...given), upstream));
    return [operation(...inputs), ...valueAndGradients(loss, inputs).gradients];
  };
}

/** Activations are computed for as many values as there are: those of an empty tensor are none. */
const activation =
  (operation: (...tensors: tf.Tensor[]) => tf.Tensor, count: number): DrawCase =>
  (random, extent) => {
    const shape = shapeOf(random, extent);
    return { operation: withGradients(operation), shapes: Array.from({ length: count + 1 }, () => shape) };
  };
const gelu: DrawCase = (random, extent) => activation(pick(random, [geluErf, geluTanh]), 1)(random, extent);
const silu = activation((gate, up) => gatedSilu(gate!, up!), 2);

const norm =
  (isCentred: boolean): DrawCase =>
  (random, extent) => {
    const rows = extent === 'empty' ? 0 : between(random, 1, extent === 'large' ? 80 : 5);
    const size = between(random, 2, extent === 'large' ? 400 : 9);
    return {
      operation: (x, upstream, gain, bias) => {
        const [own, added] = [tf.clone(gain as tf.Tensor1D), tf.clone(bias as tf.Tensor1D)];
        const frozen = isCentred ? frozenNorm(own, added, 1e-5) : frozenRmsNorm(own, 1e-5);
        return withGradients((input) => frozen.apply(input as tf.Tensor2D))(x!, upstream!);
      },
      shapes: [[rows, size], [rows, size], [size], [size]],
      tolerance: 1e-5,
    };
  };

const attending: DrawCase = (random, extent) => {
  const most = extent === 'large' ? 40 : 5;
  const batchSize = extent === 'empty' ? 0 : between(random, 1, 3);
  const sequenceLength = between(random, 1, most);
  const keyValueHeadCount = between(random, 1, 3);
  const isPacked = random.uniform() < 0.3;
  const headCount = keyValueHeadCount * (isPacked ? 1 : between(random, 1, 2));
  const headSize = between(random, 1, extent === 'large' ? 24 : 4);
  const seen = isPacked ? sequenceLength : sequenceLength + random.integer(3);
  const isMasked = random.uniform() < 0.7;
  const shape = { batchSize, sequenceLength, headCount, keyValueHeadCount };
  const maskRows = pick(random, [1, sequenceLength]);
  const hidden = Float32Array.from({ length: batchSize * headCount * maskRows * seen }, (_, place) =>
    isMasked && place % seen > 0 && random.uniform() < 0.3 ? -1e9 : 0,
  );
  const mask = () => tf.tensor3d(hidden, [batchSize * headCount, maskRows, seen]);
  const [rows, seenRows] = [batchSize * sequenceLength, batchSize * seen];
  const [width, seenWidth] = [headCount * headSize, keyValueHeadCount * headSize];
  return isPacked
    ? {
        operation: withGradients((qkv) => fusedAttention(qkv as tf.Tensor2D, mask(), shape)),
        shapes: [
          [rows, 3 * width],
          [rows, width],
        ],
        tolerance: 1e-5,
        isSensitive: true,
      }
    : {
        operation: withGradients((...all) => {
          const [q, k, v] = all as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
          return attention(q, k, v, mask(), shape);
        }),
        shapes: [
          [rows, width],
          [seenRows, seenWidth],
          [seenRows, seenWidth],
          [rows, width],
        ],
        tolerance: 1e-5,
        isSensitive: true,
      };
};

const rowsOf: DrawCase = (random, extent) => {
  const [rows, size] = [between(random, 1, extent === 'large' ? 200 : 6), between(random, 1, 40)];
  const indices = Array.from({ length: extent === 'empty' ? 0 : between(random, 1, 12) }, () => random.integer(rows));
  return {
    operation: (x) => {
      const taken = takeRows(x as tf.Tensor2D, indices);
      return [taken, addRows(taken, indices, rows)];
    },
    shapes: [[rows, size]],
  };
};

const compared: DrawCase = (random, extent) => {
  const rows = extent === 'empty' ? 0 : between(random, 1, 9);
  const size = between(random, 1, extent === 'large' ? 9000 : 6);
  const targets = Array.from({ length: rows }, () => random.integer(size + 1) - 1);
  const weights = random.uniform() < 0.5 ? Array.from({ length: size }, () => 0.5 + random.uniform()) : undefined;
  return {
    operation: withGradients((scores) => crossEntropy(scores as tf.Tensor2D, targets, weights)),
    shapes: [[rows, size], []],
    tolerance: 1e-5,
  };
};

const stepping: DrawCase = (random, extent) => {
  const shapes = [shapeOf(random, extent), shapeOf(random, extent)];
  const settings = { beta1: 0.9, beta2: 0.99, epsilon: 1e-6, clipNorm: pick(random, [0, 0.5]) };
  return {
    operation: (...tensors) => {
      const parts = [0, 4].map((start): AdamPart => {
        const [parameters, gradient, firstMoment, squares] = tensors.slice(start, start + 4);
        const secondMoment = tf.square(squares!);
        return {
          ...{ parameters: parameters!, gradient: gradient!, firstMoment: firstMoment!, secondMoment },
          ...{ stepCount: 3, rate: 0.01, decay: 0.001 },
        };
      });
      return [...adamStep(parts, settings), ...parts.flatMap((part) => [part.firstMoment, part.secondMoment])];
    },
    shapes: shapes.flatMap((shape) => [shape, shape, shape, shape]),
    tolerance: 1e-5,
  };
};

/** Cases by the kernel that they run. */
export const kernelCases: Readonly<Record<string, DrawCase>> = {
  BatchMatMul: product(false),
  _FusedMatMul: product(true),
  Abs: unary(tf.abs),
  Exp: unary(tf.exp),
  Log: unary(tf.log),
  Neg: unary(tf.neg),
  Reciprocal: unary(tf.reciprocal),
  Relu: unary(tf.relu),
  Sigmoid: unary(tf.sigmoid),
  Sqrt: unary(tf.sqrt),
  Tanh: unary(tf.tanh),
  Erf: unary(tf.erf),
  Square: unary(tf.square),
  Rsqrt: unary(tf.rsqrt),
  Step: unary((x) => tf.step(x, 0.5)),
  Add: binary(tf.add),
  Sub: binary(tf.sub),
  Multiply: binary(tf.mul),
  RealDiv: binary(tf.div),
  Maximum: binary(tf.maximum),
  Minimum: binary(tf.minimum),
  SquaredDifference: binary(tf.squaredDifference),
  AddN: (random, extent) => {
    const shape = shapeOf(random, extent);
    return { operation: (...all) => tf.addN(all), shapes: [shape, shape, shape] };
  },
  Sum: reduction((x, axes, keepDims) => tf.sum(x, axes, keepDims)),
  Mean: reduction((x, axes, keepDims) => tf.mean(x, axes, keepDims)),
  Max: reduction((x, axes, keepDims) => tf.max(x, axes, keepDims)),
  Min: reduction((x, axes, keepDims) => tf.min(x, axes, keepDims)),
  Softmax: unary(tf.softmax),
  Transpose: (random, extent) => {
    const shape = shapeOf(random, extent);
    const perm = random.shuffle([...shape.keys()]);
    return { operation: (x) => tf.transpose(x!, perm), shapes: [shape] };
  },
  Slice: (random, extent) => {
    const shape = shapeOf(random, extent);
    const begin = shape.map((size) => random.integer(size + 1));
    const extents = shape.map((size, axis) => between(random, 0, size - begin[axis]!));
    return { operation: (x) => tf.slice(x!, begin, extents), shapes: [shape] };
  },
  SplitV: (random, extent) => {
    const shape = shapeOf(random, extent);
    const axis = random.integer(shape.length);
    const first = random.integer(shape[axis]! + 1);
    return { operation: (x) => tf.split(x!, [first, shape[axis]! - first], axis), shapes: [shape] };
  },
  PadV2: (random, extent) => {
    const shape = shapeOf(random, extent);
    const paddings = shape.map((): [number, number] => [random.integer(3), random.integer(3)]);
    return { operation: (x) => tf.pad(x!, paddings, 0.5), shapes: [shape] };
  },
  Concat: (random, extent) => {
    const shape = shapeOf(random, extent);
    const axis = random.integer(shape.length);
    const shapes = Array.from({ length: between(random, 2, 4) }, () => shape.with(axis, random.integer(6)));
    return { operation: (...all) => tf.concat(all, axis), shapes: [shape, ...shapes] };
  },
  GatherV2: (random, extent) => {
    const shape = shapeOf(random, extent === 'empty' ? 'small' : extent);
    const axis = random.integer(shape.length);
    const count = extent === 'empty' ? 0 : between(random, 1, 9);
    const indices = Int32Array.from({ length: count }, () => random.integer(shape[axis]!));
    return { operation: (x) => tf.gather(x!, tf.tensor1d(indices, 'int32'), axis), shapes: [shape] };
  },
  TributaryTakeRows: rowsOf,
  TributaryAddRows: rowsOf,
  TributaryGelu: gelu,
  TributaryGeluGradient: gelu,
  TributaryGatedSilu: silu,
  TributaryGatedSiluGradient: silu,
  TributaryLayerNorm: norm(true),
  TributaryLayerNormGradient: norm(true),
  TributaryRmsNorm: norm(false),
  TributaryRmsNormGradient: norm(false),
  TributaryAttention: attending,
  TributaryAttentionGradient: attending,
  TributaryCrossEntropy: compared,
  TributaryAdamStep: stepping,
};
