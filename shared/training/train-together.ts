/**
 * Local training of several clients at once on one base: in every step the rows of all of them go through the frozen parts together, each
 * client's own adapter acts on its rows, and each has an optimiser of its own. Up to rounding it is what `trainLocally` gives one by one,
 * save that adapter dropout draws other masks where texts of one client pad those of another.
 */
import { add, keep, type Scalar, type Tensor1D, tidy, valueAndGrads } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { FederationError, UsageError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import type { ExampleSource } from '../data/example-source.ts';
import { checkTraining } from './check-configuration.ts';
import { scheduleOf } from './schedules.ts';
import type { SharedPass, TaskModel } from './task-model.ts';
import { taskOf } from './task-sampling.ts';
import type { Arranged } from './tasks/task.ts';
import { batchesForEver, createTrainer, localStepCount, type TrainingOptions, type TrainingResult } from './train.ts';
import { nextTurn } from './turn.ts';

/** One client. */
export interface TogetherClient extends Pick<TrainingOptions, 'start' | 'source' | 'seed'> {}

/** What {@link trainTogether} needs. */
export interface TogetherOptions extends Pick<TrainingOptions, 'model' | 'configuration' | 'round' | 'signal'> {
  readonly clients: readonly TogetherClient[];
}

/** A client under way. */
interface Learning {
  readonly source: ExampleSource;
  readonly start: Float32Array;
  readonly trainer: ReturnType<typeof createTrainer>;
  readonly batches: ReturnType<typeof batchesForEver>;
  readonly random: SeededRandom;
  readonly stepCount: number;
  readonly scaleAt: (place: number) => number;
  lossSum: number;
  targetCount: number;
}

/** The batch of one client in a step. */
interface Turn {
  readonly one: Learning;
  readonly arranged: Arranged;
  readonly mode: SharedPass['mode'];
  readonly place: number;
  readonly isRepeated: boolean;
}

/**
 * Trains all `clients`; results in their order, each with the time of all.
 * @throws UsageError `cannot-share-a-pass`, `bad-training`; FederationError `training-diverged`; the reason of `signal` when it aborts.
 */
export async function trainTogether(options: TogetherOptions): Promise<readonly TrainingResult[]> {
  const { model, clients, configuration, round = { index: 0, count: 1 }, signal } = options;
  const startedMs = performance.now();
  checkTraining(configuration, model.layout);
  refuseUnfit(options);
  const all = clients.map((client) => begin(client, options));
  const longest = all.reduce((most, { stepCount }) => Math.max(most, stepCount), 0);
  try {
    for (let step = 0; step < longest; step++) {
      signal?.throwIfAborted();
      const active = all.filter(({ stepCount }) => step < stepCount);
      const turns = await Promise.all(active.map((one) => turnOf(one, model, step, round.index)));
      const examples = turns.flatMap(({ arranged }) => arranged.examples);
      const isRepeated = turns.every((turn) => turn.isRepeated);
      const below = isRepeated ? await model.below({ examples, places: [], targets: [] }, true) : null;
      const { losses, gradients } = gradientsOf(model, turns, below);
      below?.states.dispose();
      for (const [index, { one, place, arranged }] of turns.entries()) {
        one.trainer.take(gradients[index]!, one.scaleAt(place), place / (one.stepCount * round.count));
        const [loss] = await losses[index]!.data();
        if (!Number.isFinite(loss)) {
          const sentence = `training of client ${all.indexOf(one)} diverged: the loss of step ${step + 1} is ${loss}`;
          throw new FederationError('training-diverged', `${sentence}; lower the learning rate`);
        }
        one.lossSum += loss! * arranged.targets.length;
        one.targetCount += arranged.targets.length;
      }
      for (const tensor of [...losses, ...gradients]) tensor.dispose();
      await nextTurn();
    }
    const seconds = (performance.now() - startedMs) / 1000;
    return await Promise.all(all.map((one) => resultOf(one, seconds)));
  } finally {
    for (const { trainer } of all) trainer.dispose();
  }
}

function begin({ start, source, seed }: TogetherClient, { model, configuration, round }: TogetherOptions): Learning {
  assert(start.length === model.layout.dim && source.count > 0, 'training needs a start of the layout and an example');
  const random = seededRandom(seed, 'training');
  const stepCount = localStepCount(configuration, source.count);
  return {
    source,
    start,
    trainer: createTrainer({ model, features: null, start, configuration }),
    batches: batchesForEver({ model, source, configuration, random }),
    random,
    stepCount,
    scaleAt: scheduleOf({
      name: configuration.schedule,
      warmupFraction: configuration.warmupFraction,
      warmupSteps: configuration.warmupSteps,
      stepCount: stepCount * (round?.count ?? 1),
    }),
    lossSum: 0,
    targetCount: 0,
  };
}

async function turnOf(one: Learning, model: TaskModel, step: number, roundIndex: number): Promise<Turn> {
  const { indices, part } = one.batches.next().value;
  const examples = await one.source.read(indices);
  const arranged = model.arrange(examples, (row) => one.random.fork('masks', step, row));
  const place = roundIndex * one.stepCount + step;
  const mode = { training: true, random: one.random.fork('dropout', step), step: place, ...taskOf(model, part) };
  const isRepeated = arranged.examples.every(({ ids }, row) => ids === examples[row]!.ids);
  return { one, arranged, mode, place, isRepeated };
}

/** Loss and gradient of every client: the gradient of the sum of all losses, of which each client's parameters enter one. */
function gradientsOf(
  model: TaskModel,
  turns: readonly Turn[],
  below: Parameters<TaskModel['statesTogether']>[1],
): { readonly losses: readonly Scalar[]; readonly gradients: readonly Tensor1D[] } {
  const losses: Scalar[] = [];
  const gradients = tidy(() => {
    const constants = turns.map(({ one }) => one.trainer.constants());
    const { grads } = valueAndGrads((...flats) => {
      const added = turns.map((): Scalar[] => []);
      const passes = turns.map(({ one, arranged, mode }, index): SharedPass => {
        const addLoss = (_: string, loss: Scalar): void => void added[index]!.push(keep(loss));
        return {
          parameters: one.trainer.named(flats[index] as Tensor1D, constants[index]!),
          arranged,
          mode: { ...mode, addLoss },
        };
      });
      const scored = model.statesTogether(passes, below);
      for (const [index, { parameters, arranged }] of passes.entries()) {
        const own = model.loss(parameters, scored[index]!, arranged);
        losses.push(keep(added[index]!.reduce<Scalar>((sum, loss) => add(sum, loss), own)));
        for (const loss of added[index]!) loss.dispose();
      }
      return losses.reduce((sum, loss) => add(sum, loss));
    })(turns.map(({ one }) => one.trainer.flat()));
    return grads as Tensor1D[];
  });
  return { losses, gradients };
}

async function resultOf(one: Learning, seconds: number): Promise<TrainingResult> {
  const parameters = await one.trainer.parameters();
  return {
    parameters,
    delta: parameters.map((value, index) => value - one.start[index]!),
    steps: one.stepCount,
    exampleCount: one.source.count,
    meanLoss: one.targetCount === 0 ? 0 : one.lossSum / one.targetCount,
    seconds,
    counts: one.trainer.counts(),
  };
}

function refuseUnfit({ model, configuration }: TogetherOptions): void {
  const counted = model.layout.tensors.some(({ aggregationClass }) => aggregationClass === 'count');
  if (configuration.adversarial === undefined && !counted) return;
  const what = counted ? 'an adapter that counts its uses' : 'training.adversarial';
  throw new UsageError(
    'cannot-share-a-pass',
    `${what} cannot be trained together with other clients; train one by one`,
  );
}
