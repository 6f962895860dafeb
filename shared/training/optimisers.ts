/**
 * Optimisers as values `{ init, update }` over one flat tensor that holds every trainable parameter, so that a step costs a few kernels
 * whatever the number of tensors in the layout.
 */
import {
  add,
  div,
  maximum,
  mul,
  norm,
  type Scalar,
  scalar,
  sqrt,
  square,
  sub,
  type Tensor1D,
  tidy,
  zerosLike,
} from '@tensorflow/tfjs-core';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';

/** Moments after `stepCount` updates, each `[dim]`. The holder disposes them when a new state takes their place. */
export interface AdamState {
  readonly stepCount: number;
  readonly firstMoment: Tensor1D;
  readonly secondMoment: Tensor1D;
}

/** What an update is computed from. */
export interface UpdateInput {
  /** `[dim]`. */
  readonly gradient: Tensor1D;
  readonly state: AdamState;
  /** `[dim]`, before the update. */
  readonly parameters: Tensor1D;
  /** Factor of the schedule, in [0, 1]. */
  readonly scale: number;
}

/** An optimiser: `update` returns what is added to the parameters, and the next state; it disposes nothing. */
export interface Optimiser {
  init(parameters: Tensor1D): AdamState;
  update(input: UpdateInput): { readonly change: Tensor1D; readonly state: AdamState };
}

/** Settings of {@link adamW}; ranges as in `TrainingConfiguration`. */
export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** `[dim]`: 1 where weight decay applies, else 0; owned by the caller. */
  readonly decayMask: Tensor1D;
}

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g², and the change is
 * -scale lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + weightDecay mask w).
 */
export function adamW({ learningRate, beta1, beta2, epsilon, weightDecay, decayMask }: AdamWOptions): Optimiser {
  return {
    init: (parameters) => ({ stepCount: 0, firstMoment: zerosLike(parameters), secondMoment: zerosLike(parameters) }),
    update: ({ gradient, state, parameters, scale }) => {
      const stepCount = state.stepCount + 1;
      const rate = learningRate * scale;
      const [change, firstMoment, secondMoment] = tidy(() => {
        const first: Tensor1D = add(mul(state.firstMoment, beta1), mul(gradient, 1 - beta1));
        const second: Tensor1D = add(mul(state.secondMoment, beta2), mul(square(gradient), 1 - beta2));
        const root = sqrt(mul(second, 1 / (1 - beta2 ** stepCount)));
        const adaptive: Tensor1D = div(mul(first, -rate / (1 - beta1 ** stepCount)), add(root, epsilon));
        if (weightDecay === 0) return [adaptive, first, second];
        const decay: Tensor1D = mul(mul(parameters, decayMask), rate * weightDecay);
        return [sub<Tensor1D>(adaptive, decay), first, second];
      }) as [Tensor1D, Tensor1D, Tensor1D];
      return { change, state: { stepCount, firstMoment, secondMoment } };
    },
  };
}

/** Scales `gradient` `[dim]` down to a global norm of `clipNorm` > 0 where it is longer (Pascanu 2013, algorithm 1). */
export function clipByGlobalNorm(gradient: Tensor1D, clipNorm: number): Tensor1D {
  return tidy(() => {
    const length = norm(gradient) as Scalar;
    return mul(gradient, div(scalar(clipNorm), maximum(length, clipNorm)));
  });
}

/** For every parameter of the flat vector, 1 where weight decay applies and 0 elsewhere. What is not trained never decays. */
export function decayMaskOf(layout: AdapterLayout): Float32Array {
  const mask = new Float32Array(layout.dim);
  for (const { offset, size, decays, aggregationClass } of layout.tensors) {
    if (decays && trainsLocally(aggregationClass)) mask.fill(1, offset, offset + size);
  }
  return mask;
}
