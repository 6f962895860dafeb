/**
 * What one training moves: the tensors of a layout, their moments, and the steps that they take. A tensor that a step does not reach (an expert that no
 * token went to, a dropped layer) takes none, as in PyTorch: it and its moments stay as they are and do not decay, its corrections count the steps that
 * it took, and nothing is computed for it. FedProx reaches all that trains.
 */
import {
  add,
  concat,
  keep,
  mul,
  reshape,
  sub,
  type Tensor,
  type Tensor1D,
  tensor,
  tensor1d,
  tidy,
  zeros,
} from '@tensorflow/tfjs-core';
import { adamStep, hasAdamStep } from '../compute/adam-step.ts';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { adamW, clipByGlobalNorm, decayMaskOf } from './optimisers.ts';
import { learningRatesOf } from './parameter-groups.ts';
import { splitFlat } from './parameters.ts';

/** What {@link createWeights} needs. */
export interface WeightsOptions {
  readonly layout: AdapterLayout;
  /** Parameters in layout order, `[dim]`; not changed. For FedProx also the point that training is drawn to. */
  readonly start: Float32Array;
  readonly configuration: Pick<
    TrainingConfiguration,
    'learningRate' | 'beta1' | 'beta2' | 'epsilon' | 'weightDecay' | 'gradientClipNorm' | 'proximalMu' | 'groups'
  >;
}

/** A step. */
export interface WeightsStep {
  /** By tensor; null where no gradient reached it. */
  readonly gradients: readonly (Tensor | null)[];
  /** Factor of the schedule, in [0, 1]. */
  readonly scale: number;
  /** Whether the tensor at a place of the layout trains now. */
  readonly trains: (index: number) => boolean;
}

/** The tensors of one training, which outlive every `tidy` until they are disposed. */
export interface Weights {
  /** In layout order, lent until the next step. */
  tensors(): readonly Tensor[];
  /** Takes a step with AdamW. */
  step(step: WeightsStep): void;
  /** Parameters `[dim]`. */
  values(): Promise<Float32Array>;
  dispose(): void;
}

/** Weights at their start. Where the back end moves all tensors in one call each is one of its own, else all are one vector. */
export function createWeights(options: WeightsOptions): Weights {
  return hasAdamStep() ? separateWeights(options) : flatWeights(options);
}

/** A tensor and its moments, which are made at its first step. */
interface Moving {
  tensor: Tensor;
  moments: { readonly first: Tensor; readonly second: Tensor } | null;
  stepCount: number;
  readonly anchor: Tensor | null;
  readonly rate: number;
  readonly decay: number;
}

function separateWeights({ layout, start, configuration }: WeightsOptions): Weights {
  const { learningRate, weightDecay, proximalMu, gradientClipNorm, beta1, beta2, epsilon, groups } = configuration;
  const rates = learningRatesOf(layout, groups);
  const all = layout.tensors.map(({ shape, offset, size, decays, aggregationClass }): Moving => {
    const own = () => keep(tensor(start.slice(offset, offset + size), [...shape], 'float32'));
    const isTrained = trainsLocally(aggregationClass);
    const rate = learningRate * (rates?.[offset] ?? 1);
    return {
      tensor: own(),
      moments: null,
      stepCount: 0,
      anchor: proximalMu > 0 && isTrained ? own() : null,
      rate,
      decay: decays && isTrained ? rate * weightDecay : 0,
    };
  });
  const zerosLike = ({ tensor: { shape, size } }: Moving): Tensor => keep(tensor(new Float32Array(size), shape));
  const pulled = ({ tensor: own, anchor }: Moving, gradient: Tensor | null): Tensor | null => {
    if (anchor === null) return gradient;
    const pull = mul(sub(own, anchor), proximalMu);
    return gradient === null ? pull : add(gradient, pull);
  };
  return {
    tensors: () => all.map((one) => one.tensor),
    step: ({ gradients, scale, trains }) => {
      tidy(() => {
        const reached = all.flatMap((one, index) => {
          const gradient = trains(index) ? pulled(one, gradients[index]!) : null;
          return gradient === null ? [] : [{ one, gradient }];
        });
        const parts = reached.map(({ one, gradient }) => {
          one.moments ??= { first: zerosLike(one), second: zerosLike(one) };
          return {
            parameters: one.tensor,
            gradient,
            firstMoment: one.moments.first,
            secondMoment: one.moments.second,
            stepCount: ++one.stepCount,
            rate: scale * one.rate,
            decay: scale * one.decay,
          };
        });
        const results = adamStep(parts, { beta1, beta2, epsilon, clipNorm: gradientClipNorm });
        for (const [index, { one }] of reached.entries()) {
          one.tensor.dispose();
          one.tensor = keep(results[index]!);
        }
      });
    },
    values: async () => {
      const values = new Float32Array(layout.dim);
      for (const [index, { offset }] of layout.tensors.entries()) values.set(await all[index]!.tensor.data(), offset);
      return values;
    },
    dispose: () => {
      for (const { tensor: own, moments, anchor } of all)
        for (const one of [own, moments?.first, moments?.second, anchor]) one?.dispose();
    },
  };
}

function flatWeights({ layout, start, configuration }: WeightsOptions): Weights {
  const { gradientClipNorm, proximalMu } = configuration;
  const decayMask = tensor1d(decayMaskOf(layout));
  const anchor = proximalMu > 0 ? tensor1d(start) : null;
  const rates = learningRatesOf(layout, configuration.groups);
  const ratesTensor = rates === null ? undefined : tensor1d(rates);
  const optimiser = adamW({ ...configuration, decayMask, ...(ratesTensor && { rates: ratesTensor }) });
  let parameters = tensor1d(start.slice());
  let state = optimiser.init(parameters);
  let cut: readonly Tensor[] | null = null;
  let hasPaused = false;
  const disposeAll = (): void => {
    const { firstMoment, secondMoment, ownSteps } = state;
    for (const one of [parameters, firstMoment, secondMoment, ownSteps, ...(cut ?? [])]) one?.dispose();
  };
  /** 1 where a step is taken; undefined where all take it, and have. */
  const activeOf = ({ gradients, trains }: WeightsStep): Tensor1D | undefined => {
    const takes = layout.tensors.map(
      ({ aggregationClass }, index) =>
        trains(index) && (gradients[index] !== null || (anchor !== null && trainsLocally(aggregationClass))),
    );
    hasPaused ||= takes.some((taken, index) => !taken && trainsLocally(layout.tensors[index]!.aggregationClass));
    if (!hasPaused) return undefined;
    const mask = new Float32Array(layout.dim);
    for (const [index, { offset, size }] of layout.tensors.entries())
      if (takes[index]!) mask.fill(1, offset, offset + size);
    return tensor1d(mask);
  };
  return {
    tensors: () => {
      cut ??= tidy(() => splitFlat(parameters, layout).map((one) => keep(one)));
      return cut;
    },
    step: (step) => {
      const next = tidy(() => {
        const parts = step.gradients.map((gradient, index) =>
          gradient === null ? zeros([layout.tensors[index]!.size]) : reshape(gradient, [-1]),
        );
        const gradient: Tensor1D = concat(parts as Tensor1D[], 0);
        const drawn = anchor === null ? gradient : add<Tensor1D>(gradient, mul(sub(parameters, anchor), proximalMu));
        const active = activeOf(step);
        const own = active === undefined ? drawn : mul<Tensor1D>(drawn, active);
        const clipped = gradientClipNorm > 0 ? clipByGlobalNorm(own, gradientClipNorm) : own;
        const { change, state: after } = optimiser.update({
          gradient: clipped,
          state,
          parameters,
          scale: step.scale,
          ...(active && { active }),
        });
        const { stepCount: _, ...moments } = after;
        const moved = { parameters: add<Tensor1D>(parameters, change), ...moments };
        for (const one of Object.values(moved)) keep(one);
        return moved;
      });
      disposeAll();
      cut = null;
      const { parameters: moved, ...moments } = next;
      parameters = moved;
      state = { stepCount: state.stepCount + 1, ...moments };
    },
    values: async () => Float32Array.from(await parameters.data()),
    dispose: () => {
      disposeAll();
      for (const one of [decayMask, ratesTensor, anchor]) one?.dispose();
    },
  };
}
