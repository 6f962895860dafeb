/** Evaluation of parameters on examples: counts that merge over sites, and metrics. */
import { tensor1d, tidy } from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../adapters/method.ts';
import { assert } from '../core/assert.ts';
import { seededRandom } from '../core/random.ts';
import { sortedBatches } from '../data/batches.ts';
import type { ExampleSource } from '../data/example-source.ts';
import type { SiteHooks } from '../model/base-model.ts';
import { type EvaluationCounts, mergeCounts, noCounts } from './counts.ts';
import { featuresOf } from './features.ts';
import { type Metrics, metricsOf } from './metrics.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import type { Parameters, ScoredStates, TaskModel } from './task-model.ts';
import { partsApart, sortedPartBatches, taskOf } from './task-sampling.ts';
import type { Arranged } from './tasks/task.ts';
import { nextTurn } from './turn.ts';

/** What {@link evaluateCounts} and {@link evaluate} need. */
export interface EvaluationOptions {
  readonly model: TaskModel;
  /** `[dim]` in layout order; not changed. */
  readonly parameters: Float32Array;
  readonly source: ExampleSource;
  /** Examples per forward pass, default 32; changes speed and memory only. */
  readonly batchSize?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly exampleCount: number }) => void;
  /** Takes what the adapter observes in every pass. */
  readonly observe?: AdapterContext['observe'];
  readonly signal?: AbortSignal;
}

/** Decides what an evaluation leaves to chance (masks): the same in every evaluation, so that two of them can be compared. */
const evaluationSeed = 1;

/** Metrics of `parameters` on a source. @throws the reason of `signal` when it aborts. */
export async function evaluate(options: EvaluationOptions): Promise<Metrics> {
  return metricsOf(await evaluateCounts(options), options.model.task.metrics);
}

/** Counts of `parameters` on a source, for pooling over sites. @throws the reason of `signal` when it aborts. */
export async function evaluateCounts(options: EvaluationOptions): Promise<EvaluationCounts> {
  const { model } = options;
  const { shape } = model.task;
  let counts = noCounts(shape);
  await eachBatch(options, async ({ parameters, scored, arranged }) => {
    counts = mergeCounts([counts, await model.count(parameters, scored, arranged)], shape);
  });
  return counts;
}

/** One batch of an evaluation; the tensors are freed when its visit ends. */
export interface EvaluatedBatch {
  readonly parameters: Parameters;
  readonly scored: ScoredStates;
  readonly arranged: Arranged;
}

/** Runs the base over all examples of a source, shorter ones first. @throws the reason of `signal` when it aborts. */
export async function eachBatch(
  { model, parameters, source, batchSize = 32, onProgress, observe, signal }: EvaluationOptions,
  visit: (batch: EvaluatedBatch) => Promise<void>,
): Promise<void> {
  const { layout } = model;
  assert(parameters.length === layout.dim, `there are ${parameters.length} parameters, the layout has ${layout.dim}`);
  const features = await featuresOf(model, source, signal);
  const tensors = tidy(() => splitFlat(tensor1d(parameters), layout));
  const named = nameTensors(tensors, layout);
  const mode = { training: false, random: seededRandom(0), ...(observe === undefined ? {} : { observe }) };
  // Every example has a stream of its own: its masks do not depend on its batch.
  const masks = seededRandom(evaluationSeed, 'masks');
  let done = 0;
  try {
    const parts = partsApart(source, model);
    const batches: readonly { readonly indices: readonly number[]; readonly part?: string }[] =
      parts === null
        ? sortedBatches(source.lengths, batchSize).map((indices) => ({ indices }))
        : sortedPartBatches(source.lengths, parts, batchSize);
    for (const { indices, part } of batches) {
      signal?.throwIfAborted();
      const arranged = model.arrange(await source.read(indices), (row) => masks.fork(indices[row]!));
      const below = features === null ? await model.below(arranged, true) : null;
      let hooks: SiteHooks = {};
      const states = tidy(() => {
        const scored =
          features?.gather(indices) ?? model.states(named, arranged, { ...mode, ...taskOf(model, part), below });
        hooks = scored.hooks;
        return scored.states;
      });
      below?.states.dispose();
      try {
        await visit({ parameters: named, scored: { states, hooks }, arranged });
      } finally {
        states.dispose();
      }
      done += indices.length;
      onProgress?.({ done, exampleCount: source.count });
      await nextTurn();
    }
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}
