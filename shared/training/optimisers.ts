/**
 * Optimisers as values `{ init, update }` over one flat tensor that holds every trainable parameter, so that a step costs a few kernels
 * whatever the number of tensors in the layout.
 */
import {
  add,
  div,
  exp,
  maximum,
  mul,
  type Scalar,
  scalar,
  sqrt,
  square,
  sub,
  sum,
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
  /** Steps that each parameter took, where some pause; absent: all took `stepCount`. */
  readonly ownSteps?: Tensor1D;
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
  /** `[dim]`: 1 where a parameter takes a step, 0 where it and its moments stay as they are. Absent: all do; given at one step, given at all after it. */
  readonly active?: Tensor1D;
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
  /** `[dim]`: factors of the learning rate; owned by the caller. Absent: 1 everywhere. */
  readonly rates?: Tensor1D;
}

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g², and the change is
 * -scale rate lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + weightDecay mask w), t the steps that the parameter took.
 */
export function adamW(options: AdamWOptions): Optimiser {
  const { learningRate, beta1, beta2, epsilon, weightDecay, decayMask, rates } = options;
  return {
    init: (parameters) => ({ stepCount: 0, firstMoment: zerosLike(parameters), secondMoment: zerosLike(parameters) }),
    update: ({ gradient, state, parameters, scale, active }) => {
      const stepCount = state.stepCount + 1;
      const rate = learningRate * scale;
      const moved = tidy(() => {
        const first = towards(state.firstMoment, gradient, { share: 1 - beta1, active });
        const second = towards(state.secondMoment, square(gradient), { share: 1 - beta2, active });
        const ownSteps = active && add<Tensor1D>(state.ownSteps ?? scalar(state.stepCount), active);
        const root = sqrt(corrected(second, { beta: beta2, stepCount, ownSteps, factor: 1 }));
        const mean = corrected(first, { beta: beta1, stepCount, ownSteps, factor: -rate });
        const adaptive: Tensor1D = div(mean, add(root, epsilon));
        const decayed =
          weightDecay === 0 ? adaptive : sub<Tensor1D>(adaptive, mul(mul(parameters, decayMask), rate * weightDecay));
        const paced = rates === undefined ? decayed : mul<Tensor1D>(decayed, rates);
        const change = active === undefined ? paced : mul<Tensor1D>(paced, active);
        return { change, firstMoment: first, secondMoment: second, ...(ownSteps && { ownSteps }) };
      });
      const { change, ...moments } = moved;
      return { change, state: { stepCount, ...moments } };
    },
  };
}

/** The moving mean after one more value; where `active` is 0 it stays. */
function towards(
  mean: Tensor1D,
  value: Tensor1D,
  { share, active }: { readonly share: number; readonly active: Tensor1D | undefined },
): Tensor1D {
  if (active === undefined) return add(mul(mean, 1 - share), mul(value, share));
  return add(mean, mul(mul(sub(value, mean), share), active));
}

interface Correction {
  readonly beta: number;
  readonly stepCount: number;
  readonly ownSteps: Tensor1D | undefined;
  readonly factor: number;
}

/** `factor` times a moving mean that began at 0, divided by the weight that its values have in it. */
function corrected(moment: Tensor1D, { beta, stepCount, ownSteps, factor }: Correction): Tensor1D {
  if (ownSteps === undefined) return mul(moment, factor / (1 - beta ** stepCount));
  // Who took no step has moments of 0, and may be divided by anything.
  return div(mul(moment, factor), sub(1, exp(mul(maximum(ownSteps, 1), Math.log(beta)))));
}

/** Scales `gradient` `[dim]` down to a global norm of `clipNorm` > 0 where it is longer (Pascanu 2013, algorithm 1). */
export function clipByGlobalNorm(gradient: Tensor1D, clipNorm: number): Tensor1D {
  return tidy(() => {
    const length: Scalar = sqrt(sum(square(gradient)));
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
