/**
 * Local training of several clients at once on one base: in every step the rows of all of them go through the frozen parts in one call, the
 * adapters of all act in one product each, every client's on its own rows, and each has an optimiser state of its own. Up to rounding it is what
 * `trainLocally` gives one by one.
 */
import { type Scalar, slice, type Tensor, type Tensor2D } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { FederationError, UsageError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { ExampleSource } from '../data/example-source.ts';
import { checkTraining } from './check-configuration.ts';
import type { TrainingConfiguration } from './configuration.ts';
import { freezeScheduleOf } from './freeze-schedule.ts';
import { scheduleOf } from './schedules.ts';
import { createStackedTrainer, type StackedParameters } from './stacked-trainer.ts';
import type { ScoredStates, TaskModel } from './task-model.ts';
import { taskOf } from './task-sampling.ts';
import type { Arranged } from './tasks/task.ts';
import { batchesForEver, localStepCount, type TrainingOptions, type TrainingResult, trainLocally } from './train.ts';
import { nextTurn } from './turn.ts';

/** One client. */
export interface TogetherClient extends Pick<TrainingOptions, 'start' | 'source' | 'seed'> {}

/** What {@link trainTogether} needs. */
export interface TogetherOptions extends Pick<TrainingOptions, 'model' | 'configuration' | 'round' | 'signal'> {
  readonly clients: readonly TogetherClient[];
  /** Told when a client is done, with its place among `clients`. */
  readonly onDone?: (client: number, result: TrainingResult) => void;
}

/** A client under way. */
interface Learning {
  readonly place: number;
  readonly source: ExampleSource;
  readonly start: Float32Array;
  readonly batches: ReturnType<typeof batchesForEver>;
  readonly random: SeededRandom;
  readonly stepCount: number;
  readonly scaleAt: (place: number) => number;
  lossSum: number;
  targetCount: number;
}

/** The batch of one client in a step. */
interface Turn {
  readonly arranged: Arranged;
  readonly task: { readonly task?: string };
  readonly isRepeated: boolean;
}

/**
 * Why clients of this model cannot be trained together, or null. Whoever asks trains them one by one instead, which gives the same
 * ({@link trainClients} does).
 */
function apartReason(model: TaskModel, configuration: TrainingConfiguration): string | null {
  const { layout, stacks, isHeadAlone } = model;
  if (configuration.adversarial !== undefined) return 'training.adversarial';
  if (freezeScheduleOf(layout, configuration) !== null) return 'training that freezes tensors for a stretch';
  if (layout.tensors.some(({ aggregationClass }) => aggregationClass === 'count'))
    return 'an adapter that counts its uses';
  if (isHeadAlone) return 'a head alone, whose states are computed once';
  return stacks ? null : 'an adapter whose parts are not maps for rows, or that draws dropout';
}

/**
 * Tokens that pass together, about: beyond, what a step computes on the way no longer fits the processor's cache, which costs more than shared
 * products save.
 */
const tokensTogether = 1024;

/** How many of `clients` train together. */
export function groupSizeOf({ clients, configuration }: Pick<TogetherOptions, 'clients' | 'configuration'>): number {
  const longest = Math.max(
    ...clients.map(({ source }) => source.lengths.reduce((most, one) => Math.max(most, one), 1)),
  );
  return Math.max(1, Math.floor(tokensTogether / (configuration.batchSize * longest)));
}

/** Trains `clients` together where that is possible and pays, else one by one. Results in their order. @throws as `trainLocally` does. */
export async function trainClients(options: TogetherOptions): Promise<readonly TrainingResult[]> {
  const { clients, model, configuration, round, signal, onDone } = options;
  const groupSize = apartReason(model, configuration) === null ? groupSizeOf(options) : 1;
  const results: TrainingResult[] = [];
  for (let first = 0; first < clients.length; first += groupSize) {
    const group = clients.slice(first, first + groupSize);
    const tell = (place: number, result: TrainingResult): void => onDone?.(first + place, result);
    if (group.length > 1) results.push(...(await trainTogether({ ...options, clients: group, onDone: tell })));
    else {
      const shared = { model, configuration, ...(round && { round }), ...(signal && { signal }) };
      const alone = await trainLocally({ ...group[0]!, ...shared });
      results.push(alone);
      tell(0, alone);
    }
  }
  return results;
}

/**
 * Trains all `clients` together; results in their order, each with the time from the beginning until it was done.
 * @throws UsageError `cannot-share-a-pass` where there is an {@link apartReason}, `bad-training`; FederationError `training-diverged`; the reason
 * of `signal` when it aborts.
 */
export async function trainTogether(options: TogetherOptions): Promise<readonly TrainingResult[]> {
  const { model, clients, configuration, round = { index: 0, count: 1 }, signal, onDone } = options;
  const startedMs = performance.now();
  checkTraining(configuration, model.layout);
  const reason = apartReason(model, configuration);
  if (reason !== null)
    throw new UsageError('cannot-share-a-pass', `${reason} cannot be trained together with other clients`);
  assert(clients.length > 0, 'training needs at least one client');
  const results: TrainingResult[] = [];
  let active = clients.map((client, place) => begin(client, place, options));
  const starts = active.map(({ start }) => start);
  const trainer = createStackedTrainer({ layout: model.layout, starts, configuration });
  const finish = async (): Promise<void> => {
    for (const [index, one] of active.entries()) {
      if (one.stepCount > step) continue;
      const result = resultOf(one, await trainer.parametersOf(index), (performance.now() - startedMs) / 1000);
      results[one.place] = result;
      onDone?.(one.place, result);
    }
    const rest = [...active.keys()].filter((index) => active[index]!.stepCount > step);
    if (rest.length > 0 && rest.length < active.length) trainer.keepOnly(rest);
    active = rest.map((index) => active[index]!);
  };
  let step = 0;
  try {
    for (; active.length > 0; step++, await finish()) {
      signal?.throwIfAborted();
      const turns = await Promise.all(active.map((one) => turnOf(one, model, step)));
      const rowsEach = Math.max(...turns.map(({ arranged }) => arranged.examples.length));
      const padded = turns.map(({ arranged }) => ({ ...arranged, examples: filledUp(arranged.examples, rowsEach) }));
      const examples = padded.flatMap((arranged) => arranged.examples);
      const isRepeated = turns.every((turn) => turn.isRepeated);
      const below = isRepeated ? await model.below({ examples, places: [], targets: [] }, true) : null;
      const places = active.map(({ stepCount }) => round.index * stepCount + step);
      const mode = { training: true, random: active[0]!.random, step: places[0]!, ...turns[0]!.task };
      const lossesOf = (parameters: StackedParameters): Scalar[] => {
        const scored = model.statesTogether(parameters.all, padded, { mode, below });
        return turns.map(({ arranged }, index) => {
          const own = withoutFilling(scored[index]!, arranged);
          return model.loss(headOf(model, parameters, index), own, arranged);
        });
      };
      const scales = active.map(({ scaleAt }, index) => scaleAt(places[index]!));
      const losses = await trainer.step(lossesOf, scales).finally(() => below?.states.dispose());
      for (const [index, one] of active.entries()) note(one, losses[index]!, turns[index]!.arranged, step);
      await nextTurn();
    }
    return results;
  } finally {
    trainer.dispose();
  }
}

function begin({ start, source, seed }: TogetherClient, place: number, options: TogetherOptions): Learning {
  const { model, configuration, round } = options;
  assert(start.length === model.layout.dim && source.count > 0, 'training needs a start of the layout and an example');
  const random = seededRandom(seed, 'training');
  const stepCount = localStepCount(configuration, source.count);
  return {
    place,
    source,
    start,
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

async function turnOf(one: Learning, model: TaskModel, step: number): Promise<Turn> {
  const { indices, part } = one.batches.next().value;
  const examples = await one.source.read(indices);
  const arranged = model.arrange(examples, (row) => one.random.fork('masks', step, row));
  const isRepeated = arranged.examples.every(({ ids }, row) => ids === examples[row]!.ids);
  return { arranged, task: taskOf(model, part), isRepeated };
}

/** As many rows for every client: those that are missing repeat the first, and are not scored. */
function filledUp(examples: readonly EncodedExample[], count: number): readonly EncodedExample[] {
  return Array.from({ length: count }, (_, row) => examples[row] ?? examples[0]!);
}

/** Where every text has one state, those of the rows that only fill up are left out. */
function withoutFilling({ states, hooks }: ScoredStates, { targets }: Arranged): ScoredStates {
  const [count, width] = states.shape;
  return {
    states: count === targets.length ? states : (slice(states, [0, 0], [targets.length, width]) as Tensor2D),
    hooks,
  };
}

/** The tensors of a client's head, which are few and small. */
function headOf({ layout }: TaskModel, { own }: StackedParameters, client: number): ReadonlyMap<string, Tensor> {
  const names = layout.tensors.map(({ name }) => name).filter((name) => name.startsWith('head'));
  return new Map(names.map((name) => [name, own(client, name)]));
}

/** Counts a step. @throws FederationError `training-diverged`. */
function note(one: Learning, loss: number, { targets }: Arranged, step: number): void {
  if (!Number.isFinite(loss)) {
    const sentence = `training of client ${one.place} diverged: the loss of step ${step + 1} is ${loss}`;
    throw new FederationError('training-diverged', `${sentence}; lower the learning rate`);
  }
  one.lossSum += loss * targets.length;
  one.targetCount += targets.length;
}

function resultOf(one: Learning, parameters: Float32Array, seconds: number): TrainingResult {
  return {
    parameters,
    delta: parameters.map((value, index) => value - one.start[index]!),
    steps: one.stepCount,
    exampleCount: one.source.count,
    meanLoss: one.targetCount === 0 ? 0 : one.lossSum / one.targetCount,
    seconds,
    counts: new Map(),
  };
}
