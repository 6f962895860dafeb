/** The learner on a site's records: base from bytes, adapter and task from the plan, rows as the task reads them. */
import { withTask } from '../shared/adapters/with-task.ts';
import type { BackendName } from '../shared/compute/backend.ts';
import { useBackend } from '../shared/compute/backend.ts';
import { checkDevice } from '../shared/compute/canary.ts';
import { FormatError, UsageError } from '../shared/core/errors.ts';
import type { ExampleSource } from '../shared/data/example-source.ts';
import { createParts, type PartsInWork } from '../shared/data/parts.ts';
import type { ColumnMapping, RecordView } from '../shared/data/row-fields.ts';
import { type BaseFiles, baseModelFrom } from '../shared/model/load.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { spentStatement } from '../shared/plan/privacy.ts';
import { type ActivationCacheOptions, createActivationCache } from '../shared/training/activation-cache.ts';
import { besideFrozen } from '../shared/training/beside-frozen.ts';
import { createRowEncoder } from '../shared/training/encode-rows.ts';
import { evaluateCounts } from '../shared/training/evaluate.ts';
import { ownersOf } from '../shared/training/label-owners.ts';
import { type LaidOutAdapter, planAdapters } from '../shared/training/plan-adapters.ts';
import { createTaskModel, type TaskAdapter, type TaskModel } from '../shared/training/task-model.ts';
import { type TrainingOptions, trainLocally } from '../shared/training/train.ts';
import type { AdapterLayout } from '../shared/update/layout.ts';
import type { Learner, PreparedLearning } from './learner.ts';
import { trainOnRecords } from './private-records.ts';
import { type ExampleKeeper, feedOf, type KeptExamples, keepInMemory, type RecordFeed } from './record-feed.ts';

/** A site's records and where it computes. What a record means is decided by the task of the plan that comes. */
export interface TaskLearnerOptions {
  readonly train: readonly RecordView[] | RecordFeed;
  /** Records that are never trained on; empty where the site evaluates nothing. */
  readonly heldOut: readonly RecordView[] | RecordFeed;
  /** Where the examples of a plan go; memory by default. */
  readonly keep?: ExampleKeeper;
  /** Which column holds what, where they do not have the usual names of the task. */
  readonly columns?: ColumnMapping;
  readonly backend: BackendName | 'auto';
  readonly threads?: number;
  /** The room for states of texts below the lowest adapter; 256 MiB by default. */
  readonly activations?: ActivationCacheOptions;
  /** Told after every training how many texts have their states kept, if any. */
  readonly onActivations?: (kept: { readonly count: number; readonly bytes: number }) => void;
  /** The task of this site, for adapters that serve several (`hyperformer`). */
  readonly adapterTask?: string;
  /** Told for every plan which back end was taken. */
  readonly onBackend?: (name: BackendName) => void;
  /** Told for every plan how many rows were cut for their length, training and held-out rows together, and how many of those are left out. */
  readonly onEncoded?: (counts: { readonly truncatedCount: number; readonly droppedCount: number }) => void;
  /** Told before every round of a plan with differential privacy what it will have cost, of whose, and against whom that holds. */
  readonly onPrivacy?: (sentence: string) => void;
}

/** A learner on these records. */
export function taskLearner(options: TaskLearnerOptions): Learner {
  const { train, backend: wanted, threads, onBackend } = options;
  return {
    exampleCount: asFeed(train).count,
    prepare: async (plan, baseFiles) => {
      const backend = await useBackend(wanted, threads === undefined ? {} : { threads });
      onBackend?.(backend.name);
      return prepareTask(plan, baseFiles, options);
    },
  };
}

function asFeed(records: readonly RecordView[] | RecordFeed): RecordFeed {
  return 'views' in records ? records : feedOf(records);
}

async function prepareTask(
  plan: Plan,
  baseFiles: BaseFiles,
  {
    train: trainRecords,
    heldOut: heldOutRecords,
    columns = {},
    keep = keepInMemory,
    adapterTask,
    activations: room,
    onActivations,
    onEncoded,
    onPrivacy,
  }: TaskLearnerOptions,
): Promise<PreparedLearning> {
  const [train, heldOut] = [asFeed(trainRecords), asFeed(heldOutRecords)];
  if (train.count === 0) throw new UsageError('no-rows', 'training needs at least one row, found none');
  const held: KeptExamples[] = [];
  const { model: base, tokenizer } = await baseModelFrom(baseFiles);
  try {
    const { lengthMax } = plan.task;
    const { digest, positionsMax } = base.description;
    if (lengthMax > positionsMax) {
      throw new FormatError('bad-plan', `the plan has texts of ${lengthMax} tokens, the base only ${positionsMax}`);
    }
    const planned = planAdapters(plan, base.description);
    const ofTask = (one: LaidOutAdapter): LaidOutAdapter => ({ ...one, adapter: withTask(one.adapter, adapterTask) });
    const trained = ofTask(planned.trained);
    const published = planned.published === planned.trained ? trained : ofTask(planned.published);
    const beside = besideFrozen(trained, published);
    const activations = createActivationCache(room);
    const modelOf = (adapter: TaskAdapter, layout: AdapterLayout): TaskModel => {
      return { ...createTaskModel({ base, adapter, task: plan.task, tokenizer, activations }), layout };
    };
    const model = modelOf(beside.adapter, trained.layout);
    const measured = published === trained ? model : modelOf(published.adapter, published.layout);
    const { task } = model;
    const encoder = createRowEncoder({ task, tokenizer });
    async function* examplesOf(feed: RecordFeed, parts: PartsInWork) {
      for await (const view of feed.views()) {
        const row = task.rows.read(view, columns);
        yield* parts.tag(row.part, encoder.encode(row));
      }
    }
    const encode = async (feed: RecordFeed): Promise<ExampleSource> => {
      const { vocabularySize } = base.description;
      const parts = createParts();
      const kept = await keep(examplesOf(feed, parts), Math.max(vocabularySize, task.shape.labelCount));
      held.push(kept);
      return parts.label(kept.source);
    };
    const source = await encode(train);
    const testing = await encode(heldOut);
    if (source.count === 0)
      throw new UsageError('no-rows', `all ${train.count} rows are too long for ${lengthMax} tokens to leave anything`);
    const owned = await ownersOf(published.layout, source);
    onEncoded?.(encoder.counts());
    return {
      baseDigest: digest,
      layout: published.layout,
      trainedLayout: trained.layout,
      initialise: model.initialise,
      heldOutCount: testing.count,
      train: async ({ start, frozen, roundIndex, onProgress, signal }) => {
        checkDevice();
        const { count } = plan.rounds;
        beside.use(frozen);
        const options = {
          model,
          start,
          source,
          configuration: plan.training,
          seed: plan.training.seed + roundIndex,
          // Void rounds use numbers up, so the last rounds of a federation may lie beyond the schedule: they go on at its end.
          round: { index: Math.min(roundIndex, count - 1), count },
          onProgress: ({ step, stepCount, loss }) => onProgress({ stepsDone: step, stepCount, loss }),
          signal,
        } satisfies TrainingOptions;
        const { delta, counts, exampleCount, meanLoss, seconds } =
          plan.privacy.unit === 'record'
            ? await trainOnRecords(options, { plan, roundIndex, recordCount: train.count, onSpent: onPrivacy })
            : await trainLocally(options);
        const spent = plan.privacy.unit === 'client' ? spentStatement(plan, trained.layout.dim, roundIndex) : null;
        if (spent !== null) onPrivacy?.(spent);
        beside.use(null);
        if (activations.count > 0) onActivations?.({ count: activations.count, bytes: activations.bytes });
        return { delta, counts: new Map([...counts, ...owned]), exampleCount, meanLoss, seconds };
      },
      evaluate: (parameters, signal) => evaluateCounts({ model: measured, parameters, source: testing, signal }),
      dispose: () => {
        beside.dispose();
        base.dispose();
        closeAll(held);
      },
    };
  } catch (thrown) {
    base.dispose();
    closeAll(held);
    throw thrown;
  }
}

/** Lets go of examples. Nobody waits: what is left of a temporary file goes with the process. */
function closeAll(held: readonly KeptExamples[]): void {
  for (const { close } of held) close().catch(() => {});
}
