/**
 * Local training: what a client does with the adapter of a round, and what `tributary train` does on one machine. The same seed, start,
 * examples and back end give the same bytes.
 */
import { add, addN, keep, mul, type Scalar, type Tensor, type Tensor3D, tidy, zeros } from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../adapters/method.ts';
import { valueAndReached } from '../compute/value-and-gradients.ts';
import { assert } from '../core/assert.ts';
import { FederationError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import { epochBatches } from '../data/batches.ts';
import type { ExampleSource } from '../data/example-source.ts';
import type { StatesBelow } from '../model/base-model.ts';
import { createActivity } from './activity.ts';
import { ascend, ascentOf } from './adversarial.ts';
import { checkTraining } from './check-configuration.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { type Features, featuresOf } from './features.ts';
import { nameTensors } from './parameters.ts';
import { scheduleOf } from './schedules.ts';
import type { TaskModel } from './task-model.ts';
import { partsApart, type SampledBatch, sampledBatches, taskOf } from './task-sampling.ts';
import type { Arranged } from './tasks/task.ts';
import { nextTurn } from './turn.ts';
import { countUses } from './use-counts.ts';
import { createWeights } from './weights.ts';

/** Where local training stands: `step` of `stepCount` done, the last with mean `loss` per target. */
export interface TrainingProgress {
  readonly step: number;
  readonly stepCount: number;
  readonly loss: number;
}

/** What {@link trainLocally} needs. */
export interface TrainingOptions {
  readonly model: TaskModel;
  /** Parameters before training in layout order, `[dim]`; not changed. For FedProx also the point that training is drawn to. */
  readonly start: Float32Array;
  readonly source: ExampleSource;
  readonly configuration: TrainingConfiguration;
  /** Decides batches, dropout and masks. */
  readonly seed: number;
  /** Which of how many equal stretches of the learning-rate schedule this is: round `index` of `count`. Default: the only one. */
  readonly round?: { readonly index: number; readonly count: number };
  readonly onProgress?: (progress: TrainingProgress) => void;
  /** Called after every pass over the examples, the last too; training waits for it. `parameters` `[dim]` belong to the listener. */
  readonly onPass?: (pass: { readonly index: number; readonly parameters: Float32Array }) => Promise<void>;
  /** Takes what the adapter observes in every step; of an adversarial one, in the pass over the texts as they are. */
  readonly observe?: AdapterContext['observe'];
  readonly signal?: AbortSignal;
}

/** What local training gives back. `delta` is `parameters - start`, rounded once to float32; frozen tensors have exactly zero. */
export interface TrainingResult {
  readonly parameters: Float32Array;
  readonly delta: Float32Array;
  readonly steps: number;
  readonly exampleCount: number;
  /** Mean loss per target over all steps, before the step's update, auxiliary losses included. */
  readonly meanLoss: number;
  readonly seconds: number;
  /** By tensor of class `count`: how much each part was used, per example. */
  readonly counts: ReadonlyMap<string, Float32Array>;
}

/** Local steps of one call of {@link trainLocally} with this many examples. */
export function localStepCount(configuration: TrainingConfiguration, exampleCount: number): number {
  const { localSteps, localEpochs, batchSize } = configuration;
  assert((localSteps === undefined) !== (localEpochs === undefined), 'set exactly one of localSteps and localEpochs');
  return localSteps ?? localEpochs! * Math.ceil(exampleCount / batchSize);
}

/**
 * Trains the adapter and head with AdamW and returns the new parameters and their delta. Gives the event loop a turn after every step, and reads the
 * next batch while one is computed.
 * @throws UsageError `bad-training` when settings name what is not trained; FederationError `training-diverged` when the loss is not finite; the
 * reason of `signal` when it aborts.
 */
export async function trainLocally(options: TrainingOptions): Promise<TrainingResult> {
  const { model, start, source, configuration, seed, round = { index: 0, count: 1 } } = options;
  const { onProgress, onPass, observe, signal } = options;
  assert(start.length === model.layout.dim, `start has ${start.length} values, the layout ${model.layout.dim}`);
  assert(source.count > 0, 'training needs at least one example');
  checkTraining(configuration, model.layout);
  const startedMs = performance.now();
  const stepCount = localStepCount(configuration, source.count);
  const schedule = scheduleOf({
    name: configuration.schedule,
    warmupFraction: configuration.warmupFraction,
    warmupSteps: configuration.warmupSteps,
    stepCount: stepCount * round.count,
  });
  // States of texts that are kept do not know what changed words would make of them.
  const features = configuration.adversarial === undefined ? await featuresOf(model, source, signal) : null;
  const random = seededRandom(seed, 'training');
  const totalSteps = stepCount * round.count;
  const trainer = createTrainer({ model, features, start, configuration, observe });
  let lossSum = 0;
  let targetCount = 0;
  try {
    const batches = batchesForEver({ model, source, configuration, random });
    const fetch = ({ indices, part }: DrawnBatch) => {
      const examples = source.read(indices);
      // Whoever waits for it hears of a failure; nobody waits when the step before it fails.
      examples.catch(() => {});
      return { indices, part, examples };
    };
    const stepsPerPass = Math.ceil(source.count / configuration.batchSize);
    let next = fetch(batches.next().value);
    for (let step = 0; step < stepCount; step++) {
      signal?.throwIfAborted();
      const { indices, part } = next;
      const examples = await next.examples;
      const arranged = model.arrange(examples, (row) => random.fork('masks', step, row));
      if (step + 1 < stepCount) next = fetch(batches.next().value);
      const place = round.index * stepCount + step;
      // Masks are drawn anew for every pass: such texts do not come again. Changed words change all states.
      const isRepeated = arranged.examples.every(({ ids }, row) => ids === examples[row]!.ids);
      const isKept = features === null && configuration.adversarial === undefined && isRepeated;
      const below = isKept ? await model.below(arranged, true) : null;
      const loss = await trainer
        .step(
          { arranged, indices, below, step: place, progress: place / totalSteps, ...taskOf(model, part) },
          schedule(place),
          random.fork('dropout', step),
        )
        .finally(() => below?.states.dispose());
      if (!Number.isFinite(loss)) throw divergence(loss, step, configuration);
      lossSum += loss * arranged.targets.length;
      targetCount += arranged.targets.length;
      onProgress?.({ step: step + 1, stepCount, loss });
      if (onPass !== undefined && (step + 1) % stepsPerPass === 0)
        await onPass({ index: (step + 1) / stepsPerPass - 1, parameters: await trainer.parameters() });
      await nextTurn();
    }
    const parameters = await trainer.parameters();
    return {
      parameters,
      delta: parameters.map((value, index) => value - start[index]!),
      steps: stepCount,
      exampleCount: source.count,
      meanLoss: targetCount === 0 ? 0 : lossSum / targetCount,
      seconds: (performance.now() - startedMs) / 1000,
      counts: trainer.counts(),
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

/** The examples of a batch, and their part where a batch is of one. */
type DrawnBatch = Pick<SampledBatch, 'indices'> & Partial<SampledBatch>;

/** The batches of a training: epoch after epoch, or drawn from parts by temperature. Draws from `random`. */
export function* batchesForEver({
  model: { adapterTasks },
  source,
  configuration: { batchSize, samplingTemperature: temperature },
  random,
}: Pick<TrainingOptions, 'model' | 'source' | 'configuration'> & { readonly random: SeededRandom }): Generator<
  DrawnBatch,
  never
> {
  const { lengths } = source;
  const parts = partsApart(source, { adapterTasks, temperature });
  if (parts !== null) yield* sampledBatches({ parts, lengths, batchSize, temperature: temperature ?? 1, random });
  for (let epoch = 0; ; epoch++)
    for (const indices of epochBatches(lengths, batchSize, random.fork('epoch', epoch))) yield { indices };
}

/** A batch: what is read and scored, and the indices of its examples. */
interface Batch {
  readonly arranged: Arranged;
  readonly indices: readonly number[];
  /** States to start from; null where the pass computes them. */
  readonly below: StatesBelow | null;
  /** Local steps before this one, over all rounds. */
  readonly step: number;
  /** Their share of all steps, in [0, 1). */
  readonly progress: number;
  /** The task of an adapter that serves several. */
  readonly task?: string;
}

/** One way through the network: what it draws from, who counts uses in it, and how word vectors are changed. */
interface Pass {
  readonly random: SeededRandom;
  readonly observe?: AdapterContext['observe'];
  readonly wordChange?: Tensor3D;
}

/** What a pass comes to. */
interface PassResult {
  readonly loss: Scalar;
  /** By tensor of the layout; null where none was taken, or the pass did not reach it. */
  readonly gradients: readonly (Tensor | null)[];
  readonly changeGradient: Tensor3D | null;
}

/** What {@link createTrainer} needs. */
export interface TrainerOptions {
  readonly model: TaskModel;
  readonly features: Features | null;
  readonly start: Float32Array;
  readonly configuration: TrainingConfiguration;
  readonly observe: AdapterContext['observe'];
}

/** One training: what moves lives across steps, all else ends with its step. */
function createTrainer({ model, features, start, configuration, observe: listener }: TrainerOptions) {
  const { layout } = model;
  const { adversarial } = configuration;
  const weights = createWeights({ layout, start, configuration });
  const activity = createActivity(layout, configuration);
  const uses = countUses(layout);
  const observe: AdapterContext['observe'] =
    listener === undefined
      ? uses.observe
      : (name, value) => {
          uses.observe?.(name, value);
          listener(name, value);
        };

  /** Loss of one pass, its gradient by tensor, and that in a change of the word vectors where there is one. */
  const passAt = (batch: Batch, pass: Pass): PassResult => {
    const tensors = weights.tensors();
    const trained = tensors.flatMap((_, index) => (activity.trains(index) ? index : []));
    const { wordChange } = pass;
    const lossOf = (...inputs: readonly Tensor[]): Scalar => {
      const changed = wordChange === undefined ? {} : { wordChange: inputs.at(-1) as Tensor3D };
      return batchLoss(nameTensors(tensors, layout), batch, { ...pass, ...changed });
    };
    const inputs = [...trained.map((index) => tensors[index]!), ...(wordChange === undefined ? [] : [wordChange])];
    const { value, gradients } = valueAndReached(lossOf, inputs);
    const byTensor = new Map(trained.map((index, place) => [index, gradients[place]!]));
    const changeGradient = wordChange === undefined ? null : (gradients.at(-1) as Tensor3D);
    return { loss: value, gradients: tensors.map((_, index) => byTensor.get(index) ?? null), changeGradient };
  };

  const gradientsAt = (batch: Batch, random: SeededRandom): PassResult => {
    if (adversarial === undefined) return passAt(batch, { random, observe });
    const { steps, stepSize } = ascentOf(adversarial);
    const { radius } = adversarial;
    const none: Tensor3D = zeros(model.wordShape(batch.arranged));
    const first = passAt(batch, { random, observe, wordChange: none });
    let change = ascend(none, first.changeGradient!, { radius, stepSize });
    for (let step = 1; step < steps; step++) {
      const uphill = passAt(batch, { random: random.fork('ascent', step), wordChange: change }).changeGradient!;
      change = ascend(change, uphill, { radius, stepSize });
    }
    // The change is a constant of the last pass.
    const worst = passAt(batch, { random: random.fork('ascent', steps), wordChange: change });
    const gradients = first.gradients.map((gradient, index) => {
      const summands = [gradient, worst.gradients[index]!].filter((one) => one !== null);
      return summands.length === 0 ? null : mul(addN(summands), 0.5);
    });
    return { ...first, gradients };
  };

  /** The loss of the task and what the adapter adds to it. */
  const batchLoss = (named: Map<string, Tensor>, batch: Batch, pass: Pass): Scalar => {
    const { arranged, indices, below, step, task } = batch;
    const added: Scalar[] = [];
    const { random, observe, wordChange } = pass;
    // A loss is formed in the middle of the network, whose blocks free what they computed.
    const addLoss = (_: string, loss: Scalar): void => void added.push(keep(loss));
    const changed = { ...(wordChange === undefined ? {} : { wordChange }), ...(task === undefined ? {} : { task }) };
    const mode = {
      training: true,
      random,
      step,
      addLoss,
      below,
      ...changed,
      ...(observe === undefined ? {} : { observe }),
    };
    const scored = features?.gather(indices) ?? model.states(named, arranged, mode);
    const whole = added.reduce<Scalar>((sum, loss) => add(sum, loss), model.loss(named, scored, arranged));
    for (const loss of added) loss.dispose();
    return whole;
  };

  return {
    /** One update from a batch; resolves to its mean loss before the update. */
    async step(batch: Batch, scale: number, random: SeededRandom): Promise<number> {
      activity.at(batch.progress);
      const loss = tidy(() => {
        const found = gradientsAt(batch, random);
        weights.step({ gradients: found.gradients, scale, trains: activity.trains });
        return found.loss;
      });
      const [value] = await loss.data();
      loss.dispose();
      await uses.closeStep(batch.indices.length);
      return value!;
    },
    counts: uses.perExample,
    parameters: () => weights.values(),
    dispose(): void {
      weights.dispose();
      activity.dispose();
      uses.dispose();
    },
  };
}
