/**
 * Local training: what a client does with the adapter of a round, and what `tributary train` does on one machine. The same seed, start,
 * examples and back end give the same bytes.
 */
import {
  add,
  concat1d,
  mul,
  reshape,
  sub,
  type Tensor,
  type Tensor1D,
  tensor1d,
  tidy,
  valueAndGrads,
  zeros,
} from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { FederationError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import { batchOf, epochBatches } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import { trainsLocally } from '../update/layout.ts';
import type { Classifier, Parameters } from './classifier.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { computeFeatures, gatherFeatures } from './features.ts';
import { crossEntropy } from './loss.ts';
import { type AdamState, adamW, clipByGlobalNorm, decayMaskOf } from './optimisers.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import { scheduleOf } from './schedules.ts';
import { nextTurn } from './turn.ts';

/** Where local training stands: `step` of `stepCount` done, the last with mean `loss` per example. */
export interface TrainingProgress {
  readonly step: number;
  readonly stepCount: number;
  readonly loss: number;
}

/** What {@link trainLocally} needs. */
export interface TrainingOptions {
  readonly classifier: Classifier;
  /** Parameters before training in layout order, `[dim]`; not changed. For FedProx also the point that training is drawn to. */
  readonly start: Float32Array;
  readonly examples: readonly EncodedExample[];
  readonly configuration: TrainingConfiguration;
  /** Decides batches and dropout. */
  readonly seed: number;
  /** Which of how many equal stretches of the learning-rate schedule this is: round `index` of `count`. Default: the only one. */
  readonly round?: { readonly index: number; readonly count: number };
  readonly onProgress?: (progress: TrainingProgress) => void;
  readonly signal?: AbortSignal;
}

/** What local training gives back. `delta` is `parameters - start`, rounded once to float32; frozen tensors have exactly zero. */
export interface TrainingResult {
  readonly parameters: Float32Array;
  readonly delta: Float32Array;
  readonly steps: number;
  readonly exampleCount: number;
  /** Mean loss per example over all steps, before the step's update. */
  readonly meanLoss: number;
  readonly seconds: number;
}

/** Local steps of one call of {@link trainLocally} with this many examples. */
export function localStepCount(configuration: TrainingConfiguration, exampleCount: number): number {
  const { localSteps, localEpochs, batchSize } = configuration;
  assert((localSteps === undefined) !== (localEpochs === undefined), 'set exactly one of localSteps and localEpochs');
  return localSteps ?? localEpochs! * Math.ceil(exampleCount / batchSize);
}

/**
 * Trains the adapter and head with AdamW and returns the new parameters and their delta. Gives the event loop a turn after every step.
 * @throws FederationError `training-diverged` when the loss is not finite; the reason of `signal` when it aborts.
 */
export async function trainLocally(options: TrainingOptions): Promise<TrainingResult> {
  const {
    classifier,
    start,
    examples,
    configuration,
    seed,
    round = { index: 0, count: 1 },
    onProgress,
    signal,
  } = options;
  assert(
    start.length === classifier.layout.dim,
    `start has ${start.length} values, the layout ${classifier.layout.dim}`,
  );
  assert(examples.length > 0, 'training needs at least one example');
  const startedMs = performance.now();
  const stepCount = localStepCount(configuration, examples.length);
  const schedule = scheduleOf({
    name: configuration.schedule,
    warmupFraction: configuration.warmupFraction,
    stepCount: stepCount * round.count,
  });
  if (classifier.isHeadAlone) await computeFeatures(classifier, examples, signal);
  const random = seededRandom(seed, 'training');
  const trainer = createTrainer(classifier, start, configuration);
  let lossSum = 0;
  let rowCount = 0;
  try {
    const batches = batchesForEver(examples, configuration.batchSize, random);
    for (let step = 0; step < stepCount; step++) {
      signal?.throwIfAborted();
      const rows = batches.next().value;
      const loss = await trainer.step(rows, schedule(round.index * stepCount + step), random.fork('dropout', step));
      if (!Number.isFinite(loss)) throw divergence(loss, step, configuration);
      lossSum += loss * rows.length;
      rowCount += rows.length;
      onProgress?.({ step: step + 1, stepCount, loss });
      await nextTurn();
    }
    const parameters = await trainer.parameters();
    return {
      parameters,
      delta: parameters.map((value, index) => value - start[index]!),
      steps: stepCount,
      exampleCount: examples.length,
      meanLoss: rowCount === 0 ? 0 : lossSum / rowCount,
      seconds: (performance.now() - startedMs) / 1000,
    };
  } finally {
    trainer.dispose();
  }
}

function divergence(loss: number, step: number, { learningRate }: TrainingConfiguration): FederationError {
  return new FederationError(
    'training-diverged',
    `training diverged: the loss of local step ${step + 1} is ${loss}; lower the learning rate (now ${learningRate}) or clip gradients`,
    { context: { step: step + 1, learningRate } },
  );
}

function* batchesForEver(
  examples: readonly EncodedExample[],
  batchSize: number,
  random: SeededRandom,
): Generator<EncodedExample[], never> {
  const lengths = examples.map(({ ids }) => ids.length);
  for (let epoch = 0; ; epoch++) {
    for (const indices of epochBatches(lengths, batchSize, random.fork('epoch', epoch))) {
      yield indices.map((index) => examples[index]!);
    }
  }
}

/** The tensors of one training: parameters and moments live across steps, all else ends with its step. */
function createTrainer(classifier: Classifier, start: Float32Array, configuration: TrainingConfiguration) {
  const { layout } = classifier;
  const { gradientClipNorm, proximalMu } = configuration;
  const decayMask = tensor1d(decayMaskOf(layout));
  const anchor = proximalMu > 0 ? tensor1d(start) : null;
  const optimiser = adamW({ ...configuration, decayMask });
  let parameters = tensor1d(start.slice());
  let state = optimiser.init(parameters);

  const gradientAt = (rows: readonly EncodedExample[], random: SeededRandom): { loss: Tensor; gradient: Tensor1D } => {
    const leaves = splitFlat(parameters, layout);
    const isTrained = layout.tensors.map(({ aggregationClass }) => trainsLocally(aggregationClass));
    const labels = rows.map(({ targets }) => targets[0]!);
    const lossOf = (...trained: Tensor[]) => {
      const rest = [...trained];
      const tensors = leaves.map((leaf, index) => (isTrained[index] ? rest.shift()! : leaf));
      return crossEntropy(scoresOf(nameTensors(tensors, layout), rows, random), labels);
    };
    const { value, grads } = valueAndGrads(lossOf)(leaves.filter((_, index) => isTrained[index]));
    const rest = [...grads];
    const parts = layout.tensors.map(({ size }, index): Tensor1D => {
      return isTrained[index] ? reshape(rest.shift()!, [size]) : zeros([size]);
    });
    const gradient = concat1d(parts);
    return { loss: value, gradient };
  };

  const scoresOf = (named: Parameters, rows: readonly EncodedExample[], random: SeededRandom) => {
    if (classifier.isHeadAlone) return classifier.score(named, gatherFeatures(classifier, rows));
    return classifier.logits(named, batchOf(rows, classifier.padId, classifier.lengthMax), { training: true, random });
  };

  const advance = (rows: readonly EncodedExample[], scale: number, random: SeededRandom) => {
    const [loss, moved, firstMoment, secondMoment] = tidy((): Tensor[] => {
      const { loss, gradient } = gradientAt(rows, random);
      // FedProx (Li 2020, equation 2): the gradient of mu / 2 ||w - w_global||² is added before clipping.
      const pulled: Tensor1D = anchor ? add(gradient, mul(sub(parameters, anchor), proximalMu)) : gradient;
      const clipped = gradientClipNorm > 0 ? clipByGlobalNorm(pulled, gradientClipNorm) : pulled;
      const { change, state: next } = optimiser.update({ gradient: clipped, state, parameters, scale });
      return [loss, add(parameters, change), next.firstMoment, next.secondMoment];
    }) as [Tensor, Tensor1D, Tensor1D, Tensor1D];
    return { loss, parameters: moved, state: { stepCount: state.stepCount + 1, firstMoment, secondMoment } };
  };

  const disposeState = (old: AdamState) => {
    old.firstMoment.dispose();
    old.secondMoment.dispose();
  };

  return {
    /** One update from a batch; resolves to the mean loss of its rows before the update. */
    async step(rows: readonly EncodedExample[], scale: number, random: SeededRandom): Promise<number> {
      const next = advance(rows, scale, random);
      parameters.dispose();
      disposeState(state);
      ({ parameters, state } = next);
      const [loss] = await next.loss.data();
      next.loss.dispose();
      return loss!;
    },
    async parameters(): Promise<Float32Array> {
      return Float32Array.from(await parameters.data());
    },
    dispose(): void {
      parameters.dispose();
      disposeState(state);
      decayMask.dispose();
      anchor?.dispose();
    },
  };
}
