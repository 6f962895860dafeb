/**
 * The parameters of several clients in one tensor `[clients, dim]`, with one AdamW for all of them: what `createTrainer` (`train.ts`) does for
 * one, in as many kernels. Clients begin together, and leave when they are done.
 */
import {
  add,
  div,
  gather,
  keep,
  maximum,
  mul,
  reshape,
  type Scalar,
  slice,
  split,
  sqrt,
  square,
  stack,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
  tile,
} from '@tensorflow/tfjs-core';
import { valueAndGradients } from '../compute/value-and-gradients.ts';
import { type AdapterLayout, trainsLocally } from '../update/layout.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { type AdamState, adamW, decayMaskOf } from './optimisers.ts';
import { learningRatesOf } from './parameter-groups.ts';
import { nameTensors } from './parameters.ts';

/** The trainable tensors of one pass: those of all clients, `[clients, ...shape]`, and views of each one's own. */
export interface StackedParameters {
  readonly all: ReadonlyMap<string, Tensor>;
  /** One tensor of one client. */
  own(client: number, name: string): Tensor;
}

/** What {@link createStackedTrainer} needs. */
export interface StackedTrainerOptions {
  readonly layout: AdapterLayout;
  /** Parameters `[dim]` of every client before training. For FedProx also the points that they are drawn to. */
  readonly starts: readonly Float32Array[];
  readonly configuration: TrainingConfiguration;
}

/** The tensors of one training of several clients. */
export interface StackedTrainer {
  /** One update of every client; resolves to their losses before it. `lossesOf` gives one loss per client, `scales` are factors of the schedule. */
  step(
    lossesOf: (parameters: StackedParameters) => readonly Scalar[],
    scales: readonly number[],
  ): Promise<Float32Array>;
  /** Parameters `[dim]` of one client. */
  parametersOf(client: number): Promise<Float32Array>;
  /** Goes on with some of the clients alone, which take the numbers from 0 on in this order. */
  keepOnly(clients: readonly number[]): void;
  dispose(): void;
}

/** Parameters and moments live across steps, all else ends with its step. */
export function createStackedTrainer({ layout, starts, configuration }: StackedTrainerOptions): StackedTrainer {
  const { dim } = layout;
  const { gradientClipNorm, proximalMu } = configuration;
  const trained = layout.tensors.map(({ aggregationClass }) => trainsLocally(aggregationClass));
  const decays = tensor1d(decayMaskOf(layout));
  const rates = learningRatesOf(layout, configuration.groups);
  const ratesTensor = rates === null ? null : tensor1d(rates);
  let count = starts.length;
  let parameters = tidy(() => reshape(tensor2d(flattened(starts), [count, dim]), [-1])) as Tensor1D;
  let anchor = proximalMu > 0 ? (parameters.clone() as Tensor1D) : null;
  let { decayMask, ratesOfAll, optimiser } = optimiserFor(count);
  let state = optimiser.init(parameters);

  /** One optimiser treats the clients as one long vector; what belongs to a parameter is repeated for each. */
  function optimiserFor(clientCount: number) {
    const mask = tile(decays, [clientCount]);
    const all = ratesTensor === null ? null : tile(ratesTensor, [clientCount]);
    return {
      decayMask: mask,
      ratesOfAll: all,
      optimiser: adamW({ ...configuration, decayMask: mask, ...(all !== null && { rates: all }) }),
    };
  }
  const partsOf = (flat: Tensor): Tensor[] =>
    split(
      reshape(flat, [count, dim]),
      layout.tensors.map(({ size }) => size),
      1,
    ).map((part, index) => reshape(part, [count, ...layout.tensors[index]!.shape]));
  const named = (flat: Tensor, constants: readonly Tensor[]): StackedParameters => {
    const leaves = partsOf(flat);
    const tensors = leaves.map((leaf, index) => (trained[index]! ? leaf : constants[index]!));
    const all = nameTensors(tensors, layout);
    const cut = new Map<string, readonly Tensor[]>();
    return {
      all,
      own: (client, name) => {
        const whole = all.get(name)!;
        // Cut once for all clients, so that their gradients are joined once, and from a vector: WebAssembly remembers with how many extents a bias was made.
        const flat = reshape(whole, [-1]);
        // The library cannot take the gradient of a cut into one.
        const parts = cut.get(name) ?? (count === 1 ? [slice(flat, 0)] : split(flat, count));
        cut.set(name, parts);
        return reshape(parts[client]!, whole.shape.slice(1));
      },
    };
  };
  const clipped = (gradient: Tensor2D): Tensor2D => {
    const lengths = sqrt(sum(square(gradient), 1, true));
    return mul(gradient, div(gradientClipNorm, maximum(lengths, gradientClipNorm)));
  };
  /** Takes over what a step, or a smaller stack, comes to. */
  const move = (next: { readonly parameters: Tensor1D; readonly state: AdamState }): void => {
    for (const old of [parameters, state.firstMoment, state.secondMoment]) old.dispose();
    ({ parameters, state } = next);
  };

  return {
    step: async (lossesOf, scales) => {
      const scale = scales.every((one) => one === scales[0]) ? scales[0]! : null;
      const next = tidy(() => {
        const constants = trained.every(Boolean) ? [] : partsOf(parameters);
        let losses: Tensor | null = null;
        const { gradients } = valueAndGradients(
          (flat: Tensor1D) => {
            const each = lossesOf(named(flat, constants));
            losses = keep(stack(each as Scalar[]));
            return each.reduce((left, right) => add(left, right));
          },
          [parameters] as const,
        );
        const [gradient] = gradients;
        const pulled: Tensor1D = anchor === null ? gradient : add(gradient, mul(sub(parameters, anchor), proximalMu));
        const rows: Tensor2D = reshape(pulled, [count, dim]);
        const own: Tensor1D = reshape(gradientClipNorm > 0 ? clipped(rows) : rows, [-1]);
        const { change, state: after } = optimiser.update({ gradient: own, state, parameters, scale: scale ?? 1 });
        const paced = scale === null ? mul(reshape(change, [count, dim]), tensor2d([...scales], [count, 1])) : change;
        const { stepCount: _, ...moments } = after;
        return { losses: losses!, parameters: add<Tensor1D>(parameters, reshape(paced, [-1])), ...moments };
      });
      const { losses, parameters: moved, ...moments } = next;
      move({ parameters: moved, state: { stepCount: state.stepCount + 1, ...moments } });
      const values = Float32Array.from(await (losses as Tensor).data());
      (losses as Tensor).dispose();
      return values;
    },
    parametersOf: async (client) => {
      const own = tidy(() => slice(parameters, client * dim, dim));
      const values = Float32Array.from(await own.data());
      own.dispose();
      return values;
    },
    keepOnly: (clients) => {
      const chosen = (flat: Tensor1D): Tensor1D =>
        tidy(() => reshape(gather(reshape(flat, [count, dim]), tensor1d([...clients], 'int32')), [-1]));
      const { firstMoment, secondMoment, stepCount } = state;
      const kept = { stepCount, firstMoment: chosen(firstMoment), secondMoment: chosen(secondMoment) };
      move({ parameters: chosen(parameters), state: kept });
      if (anchor !== null) {
        const smaller = chosen(anchor);
        anchor.dispose();
        anchor = smaller;
      }
      count = clients.length;
      for (const old of [decayMask, ratesOfAll]) old?.dispose();
      ({ decayMask, ratesOfAll, optimiser } = optimiserFor(count));
    },
    dispose: () => {
      for (const tensor of [parameters, state.firstMoment, state.secondMoment, decays, decayMask]) tensor.dispose();
      for (const tensor of [ratesTensor, ratesOfAll, anchor]) tensor?.dispose();
    },
  };
}

function flattened(vectors: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(vectors.reduce((length, one) => length + one.length, 0));
  let offset = 0;
  for (const one of vectors) {
    all.set(one, offset);
    offset += one.length;
  }
  return all;
}
