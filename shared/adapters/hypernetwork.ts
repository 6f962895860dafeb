/**
 * The network that writes adapters (Karimi Mahabadi 2021, HyperFormer, section 2.2 and its published code), as a pure function of its tensors.
 * From the vectors of a task z, a layer l and, where one generator serves both halves of a block, a position p:
 *
 *     I = LN(W_2 relu(W_1 [z; l; p] + c_1) + c_2)                                  LN with ε 1e-6, I `[n, e]`
 *     D = G_D I   U = G_U I   c_D = g_D I   c_U = g_U I   γ = G_γ I   β = G_β I    each with a bias of its own
 *     A(x) = LN_{γ,β}(U σ(D x + c_D) + c_U)                                        LN with ε 1e-5
 *
 * A step of Adam moves every entry of a kernel by the learning rate, and so what it generates by that times the sum over its inputs, whose mean
 * size is 1: up to 192 times as far as the values of an adapter that is trained itself. Kernels therefore ask for the rate divided by their inputs:
 * a rate that suits a head or a bottleneck then suits a hypernetwork, where without it all but the smallest end at chance.
 *
 * There are n = 1 vectors z for a whole batch, or n = batch for one adapter per example. Generated matrices are stored as the published code
 * stores them, D `[width, hidden]` and U `[hidden, width]`.
 */
import {
  add,
  concat,
  matMul,
  mean,
  mul,
  relu,
  reshape,
  rsqrt,
  square,
  sub,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tile,
  transpose,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';
import { trainableLinear } from '../compute/products.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { type ActivationName, activate } from './activations.ts';

/** Sizes of a generator. */
export interface HypernetworkSizes {
  readonly hiddenSize: number;
  /** Width of the generated bottleneck. */
  readonly width: number;
  /** Width of z, l and p. */
  readonly embeddingSize: number;
  /** Width between W_1 and W_2. */
  readonly projectionHidden: number;
  /** e, the width of I. */
  readonly projectionSize: number;
}

/** An adapter as it was generated, n times. */
export interface GeneratedAdapter {
  /** D `[n, width, hidden]`. */
  readonly down: Tensor3D;
  /** c_D `[n, width]`. */
  readonly downBias: Tensor2D;
  /** U `[n, hidden, width]`. */
  readonly up: Tensor3D;
  /** c_U, γ and β `[n, hidden]`. */
  readonly upBias: Tensor2D;
  readonly gain: Tensor2D;
  readonly bias: Tensor2D;
}

/** Finds a tensor by its name within the hypernetwork. */
export type NamedTensors = <Kind extends Tensor>(name: string) => Kind;

const [sourceEpsilon, adapterEpsilon] = [1e-6, 1e-5];

/** Tensors of the map from vectors to I; `parts` are two for [z; l], three with p. */
export function sourceTensors(
  { embeddingSize, projectionHidden, projectionSize }: HypernetworkSizes,
  parts: number,
): Omit<TensorSpecification, 'aggregationClass'>[] {
  return [
    ...linearTensors('source.first', parts * embeddingSize, projectionHidden),
    ...linearTensors('source.second', projectionHidden, projectionSize),
    { name: 'source.norm.gain', shape: [projectionSize], decays: false },
    { name: 'source.norm.bias', shape: [projectionSize], decays: false },
  ];
}

/** Tensors of the generator named `name`. */
export function generatorTensors(
  name: string,
  { hiddenSize, width, projectionSize }: HypernetworkSizes,
): Omit<TensorSpecification, 'aggregationClass'>[] {
  const outputs = { down: hiddenSize * width, downBias: width, up: hiddenSize * width };
  const wide = { upBias: hiddenSize, gain: hiddenSize, bias: hiddenSize };
  return Object.entries({ ...outputs, ...wide }).flatMap(([part, size]) =>
    linearTensors(`${name}.${part}`, projectionSize, size),
  );
}

function linearTensors(name: string, inSize: number, outSize: number): Omit<TensorSpecification, 'aggregationClass'>[] {
  return [
    { name: `${name}.kernel`, shape: [inSize, outSize], decays: true, learningRateFactor: 1 / inSize },
    { name: `${name}.bias`, shape: [outSize], decays: false },
  ];
}

/** I `[n, e]` from `task` `[n, t]` and the vectors `[1, t]` of layer and position. */
export function sourceOf(named: NamedTensors, task: Tensor2D, place: readonly Tensor2D[]): Tensor2D {
  const count = task.shape[0];
  const rows = concat([task, ...place.map((vector) => (count === 1 ? vector : tile(vector, [count, 1])))], 1);
  const hidden = relu(apply(named, 'source.first', rows));
  const projected = apply(named, 'source.second', hidden);
  const normed = normalise(projected, sourceEpsilon);
  return add(mul(normed, named<Tensor1D>('source.norm.gain')), named<Tensor1D>('source.norm.bias'));
}

/** The adapters that the generator `name` writes for I `[n, e]`. */
export function generateAdapter(
  named: NamedTensors,
  name: string,
  source: Tensor2D,
  { hiddenSize, width }: HypernetworkSizes,
): GeneratedAdapter {
  const part = (kind: keyof GeneratedAdapter) => apply(named, `${name}.${kind}`, source);
  return {
    down: reshape(part('down'), [-1, width, hiddenSize]),
    downBias: part('downBias'),
    up: reshape(part('up'), [-1, hiddenSize, width]),
    upBias: part('upBias'),
    gain: part('gain'),
    bias: part('bias'),
  };
}

/** A(x) for `input` `[batch, sequence, hidden]`, with one adapter for all or one for each example. */
export function applyGenerated(input: Tensor3D, adapter: GeneratedAdapter, activation: ActivationName): Tensor3D {
  const { down, downBias, up, upBias, gain, bias } = adapter;
  const [batchSize, sequenceLength, hiddenSize] = input.shape;
  const count = down.shape[0];
  const perAdapter = (batchSize / count) * sequenceLength;
  const rows: Tensor3D = reshape(input, [count, perAdapter, hiddenSize]);
  const along = (vectors: Tensor2D): Tensor3D => reshape(vectors, [count, 1, vectors.shape[1]]);
  const inner: Tensor3D = add(batchedProduct(rows, transpose(down, [0, 2, 1])), along(downBias));
  const active: Tensor3D = reshape(activate(activation, reshape(inner, [-1, inner.shape[2]])), inner.shape);
  const outer: Tensor3D = add(batchedProduct(active, transpose(up, [0, 2, 1])), along(upBias));
  const normed: Tensor3D = normalise(outer, adapterEpsilon);
  return reshape(add(mul(normed, along(gain)), along(bias)), input.shape);
}

function apply(named: NamedTensors, name: string, rows: Tensor2D): Tensor2D {
  return trainableLinear(rows, named<Tensor2D>(`${name}.kernel`), named<Tensor1D>(`${name}.bias`));
}

function normalise<States extends Tensor>(states: States, epsilon: number): States {
  const centred = sub(states, mean(states, -1, true));
  return mul(centred, rsqrt(add(mean(square(centred), -1, true), epsilon)));
}

/** Products of pairs `[n, rows, in] × [n, in, out]`, with explicit transpositions in the gradient (decision 5). */
function batchedProduct(a: Tensor3D, b: Tensor3D): Tensor3D {
  return withGradient([a, b], (left: Tensor3D, right: Tensor3D) => ({
    value: matMul(left, right),
    saved: [left, right],
    backward: (upstream: Tensor3D, saved) => {
      const [keptLeft, keptRight] = saved as [Tensor3D, Tensor3D];
      return [matMul(upstream, transpose(keptRight, [0, 2, 1])), matMul(transpose(keptLeft, [0, 2, 1]), upstream)];
    },
  }));
}
