/** A base from bytes, adapter and task from the plan, rows as the task reads them: what learns for one plan. */
import { withTask } from '../shared/adapters/with-task.ts';
import { useBackend } from '../shared/compute/backend.ts';
import { checkDevice } from '../shared/compute/canary.ts';
import { FormatError, UsageError } from '../shared/core/errors.ts';
import type { ExampleSource } from '../shared/data/example-source.ts';
import { createParts, type PartsInWork } from '../shared/data/parts.ts';
import { placeOf } from '../shared/data/row-fields.ts';
import { type BaseFiles, baseModelFrom } from '../shared/model/load.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { spentStatement } from '../shared/plan/privacy.ts';
import { createActivationCache } from '../shared/training/activation-cache.ts';
import { besideFrozen } from '../shared/training/beside-frozen.ts';
import { createRowEncoder } from '../shared/training/encode-rows.ts';
import { evaluateCounts } from '../shared/training/evaluate.ts';
import { ownersOf } from '../shared/training/label-owners.ts';
import { type LaidOutAdapter, planAdapters } from '../shared/training/plan-adapters.ts';
import { createTaskModel, type TaskAdapter, type TaskModel } from '../shared/training/task-model.ts';
import { type TrainingOptions, type TrainingResult, trainLocally } from '../shared/training/train.ts';
import { exchangeOf } from '../shared/update/exchange.ts';
import type { AdapterLayout } from '../shared/update/layout.ts';
import type { LearnedUpdate, PreparedLearning } from './learner.ts';
import { trainOnRecords } from './private-records.ts';
import { asFeed, type KeptExamples, keepInMemory, type RecordFeed } from './record-feed.ts';
import type { TaskLearnerOptions } from './task-learner.ts';

/** Makes `plan` ready to train on the records of a site. @throws FederationError as `Learner.prepare` does. */
export async function prepareTask(
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
    backend: wanted,
    threads,
    frozenWeights,
    onBackend,
  }: TaskLearnerOptions,
): Promise<PreparedLearning> {
  const backend = await useBackend(wanted, threads === undefined ? {} : { threads });
  onBackend?.(backend.name);
  const [train, heldOut] = [asFeed(trainRecords), asFeed(heldOutRecords)];
  if (train.count === 0) throw new UsageError('no-rows', 'training needs at least one row, found none');
  if (plan.task.part !== undefined && columns.part === undefined)
    throw new UsageError(
      'no-part-column',
      `the plan learns from rows of the part ${plan.task.part}: name the column that tells parts apart (--part-column)`,
    );
  const held: KeptExamples[] = [];
  const { model: base, tokenizer } = await baseModelFrom(baseFiles, { frozenWeights });
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
        if (plan.task.part !== undefined && placeOf(view, columns).part !== plan.task.part) continue;
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
    if (source.count === 0) {
      const why =
        plan.task.part === undefined
          ? `all ${train.count} rows are too long for ${lengthMax} tokens to leave anything`
          : `none of ${train.count} rows is of the part ${plan.task.part} and leaves anything within ${lengthMax} tokens`;
      throw new UsageError('no-rows', why);
    }
    const { dim: uploadDim } = exchangeOf(plan.aggregation, published.layout, trained.layout).uploaded;
    const owned = await ownersOf(published.layout, source);
    onEncoded?.(encoder.counts());
    return {
      baseDigest: digest,
      layout: published.layout,
      trainedLayout: trained.layout,
      initialise: async (seed) => model.initialise(seed),
      heldOutCount: testing.count,
      train: async ({ start, frozen, roundIndex, charges, onProgress, signal }) => {
        await checkDevice();
        const { count } = plan.rounds;
        beside.use(frozen);
        const options = {
          model,
          start,
          source,
          configuration: plan.training,
          seed: plan.training.seed + roundIndex,
          // Void rounds use numbers up, so the last rounds of a federation may lie beyond the schedule: they go on at its end.
          round: { index: Math.min(roundIndex - (plan.phase?.firstRound ?? 0), count - 1), count },
          onProgress: ({ step, stepCount, loss }) => onProgress({ stepsDone: step, stepCount, loss }),
          signal,
        } satisfies TrainingOptions;
        const spent = plan.privacy.unit === 'client' ? spentStatement(plan, uploadDim, roundIndex) : null;
        if (spent !== null) onPrivacy?.(spent);
        const records = { plan, roundIndex, recordCount: train.count, charges, onSpent: onPrivacy };
        const trained: TrainingResult & Pick<LearnedUpdate, 'charges'> =
          plan.privacy.unit === 'record' ? await trainOnRecords(options, records) : await trainLocally(options);
        beside.use(null);
        if (activations.count > 0) onActivations?.({ count: activations.count, bytes: activations.bytes });
        const { delta, counts, exampleCount, meanLoss, seconds } = trained;
        const learned = { delta, counts: new Map([...counts, ...owned]), exampleCount, meanLoss, seconds };
        return trained.charges === undefined ? learned : { ...learned, charges: trained.charges };
      },
      evaluate: (parameters, signal) => evaluateCounts({ model: measured, parameters, source: testing, signal }),
      dispose: () => {
        activations.dispose();
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
