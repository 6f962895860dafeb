/**
 * Local training that protects single records (differentially private stochastic gradient descent; Abadi 2016): steps sample records by coins, and
 * learn from them through `private-gradient.ts` alone. Coins and noise come from a cryptographic generator, not from the plan's seed, which
 * everybody knows. No loss is reported: it would be a release of its own.
 */
import { type Tensor1D, tensor1d, tidy } from '@tensorflow/tfjs-core';
import { valueAndGradients } from '../compute/value-and-gradients.ts';
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import { seededRandom } from '../core/random.ts';
import type { RandomIntegers } from '../privacy/random-integers.ts';
import { poissonSample } from '../privacy/record-sampling.ts';
import { createActivity } from './activity.ts';
import { featuresOf } from './features.ts';
import { adamW, decayMaskOf } from './optimisers.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import { privateGradient } from './private-gradient.ts';
import { scheduleOf } from './schedules.ts';
import { localStepCount, type TrainingOptions, type TrainingResult } from './train.ts';
import { nextTurn } from './turn.ts';

/** What {@link trainPrivately} needs beside a start, data and settings. */
export interface PrivateTrainingOptions extends Omit<TrainingOptions, 'onPass'> {
  readonly privacy: { readonly clipNorm: number; readonly noiseMultiplier: number };
  /** Never seeded. */
  readonly random: RandomIntegers;
}

/**
 * Trains with noise. Steps have `batchSize` records on average. One pass through the network per record.
 * @throws UsageError `bad-training` for settings that single records cannot be trained with; the reason of `signal` when it aborts.
 */
export async function trainPrivately(options: PrivateTrainingOptions): Promise<TrainingResult> {
  const { model, start, source, configuration, seed, round = { index: 0, count: 1 } } = options;
  const { privacy, random: coins, onProgress, signal } = options;
  const { layout } = model;
  assert(start.length === layout.dim && source.count > 0, 'training needs a start of the layout and an example');
  refuseUnfit(options);
  const startedMs = performance.now();
  const stepCount = localStepCount(configuration, source.count);
  const totalSteps = stepCount * round.count;
  const schedule = scheduleOf({ ...configuration, name: configuration.schedule, stepCount: totalSteps });
  const features = await featuresOf(model, source, signal);
  const seeded = seededRandom(seed, 'training');
  const activity = createActivity(layout, configuration);
  const decayMask = tensor1d(decayMaskOf(layout));
  const optimiser = adamW({ ...configuration, decayMask });
  const expectedCount = Math.min(configuration.batchSize, source.count);
  const step = { ...privacy, dim: layout.dim, expectedCount, random: coins };
  let parameters = tensor1d(start.slice());
  let state = optimiser.init(parameters);

  const gradientOf = async (index: number, at: number): Promise<Float32Array> => {
    const [example] = await source.read([index]);
    const arranged = model.arrange([example!], () => seeded.fork('masks', at, index));
    const gradient = tidy(() => {
      const constants = splitFlat(parameters, layout);
      const mode = { training: true, random: seeded.fork('dropout', at, index), step: at };
      const { gradients } = valueAndGradients(
        (flat: Tensor1D) => {
          const leaves = splitFlat(flat, layout);
          const tensors = layout.tensors.map((_, place) =>
            activity.trains(place) ? leaves[place]! : constants[place]!,
          );
          const named = nameTensors(tensors, layout);
          return model.loss(named, features?.gather([index]) ?? model.states(named, arranged, mode), arranged);
        },
        [parameters] as const,
      );
      return gradients[0];
    });
    const values = (await gradient.data()) as Float32Array;
    gradient.dispose();
    return values;
  };

  try {
    for (let local = 0; local < stepCount; local++) {
      signal?.throwIfAborted();
      const at = round.index * stepCount + local;
      const active = activity.at(at / totalSteps);
      const trained = layout.tensors.flatMap(({ size }, place) =>
        Array.from({ length: size }, () => activity.trains(place)),
      );
      const joined = poissonSample(coins, source.count, expectedCount / source.count);
      async function* gradients() {
        for (const index of joined) {
          yield await gradientOf(index, at);
          await nextTurn();
        }
      }
      const noisy = await privateGradient(step, gradients(), (place) => trained[place]!);
      const next = tidy(() => {
        const input = { gradient: tensor1d(noisy), state, parameters, scale: schedule(at) };
        const { change, state: moved } = optimiser.update(active === null ? input : { ...input, active });
        const { stepCount: _, ...moments } = moved;
        return { parameters: parameters.add(change) as Tensor1D, ...moments };
      });
      disposeAll(parameters, state.firstMoment, state.secondMoment, state.ownSteps);
      const { parameters: moved, ...moments } = next;
      parameters = moved;
      state = { stepCount: state.stepCount + 1, ...moments };
      onProgress?.({ step: local + 1, stepCount, loss: 0 });
      await nextTurn();
    }
    const found = Float32Array.from(await parameters.data());
    return {
      parameters: found,
      delta: found.map((value, index) => value - start[index]!),
      steps: stepCount,
      exampleCount: source.count,
      meanLoss: 0,
      seconds: (performance.now() - startedMs) / 1000,
      counts: new Map(),
    };
  } finally {
    disposeAll(parameters, state.firstMoment, state.secondMoment, state.ownSteps, decayMask);
    activity.dispose();
  }
}

function disposeAll(...tensors: readonly (Tensor1D | undefined)[]): void {
  for (const tensor of tensors) tensor?.dispose();
}

/** Settings that look at more than one record at a time, or at records beside the private gradient. */
function refuseUnfit({ model, configuration }: PrivateTrainingOptions): void {
  const { adversarial, samplingTemperature, groups } = configuration;
  const counted = model.layout.tensors.find(({ aggregationClass }) => aggregationClass === 'count');
  const faults = [
    adversarial === undefined ? [] : 'training.adversarial reads records beside their clipped gradients',
    samplingTemperature === undefined
      ? []
      : 'training.samplingTemperature is another sampling than the coins that are accounted for',
    groups === undefined ? [] : 'training.groups is not available for private training',
    counted === undefined ? [] : `${counted.name} counts how records are used, without noise`,
  ].flat();
  if (faults.length === 0) return;
  throw new UsageError('bad-training', `records cannot be trained privately with these settings: ${faults.join('; ')}`);
}
