/** The learner for sequence classification on labelled rows: base from bytes, adapter from the plan, rows from the site. */
import { parseAdapter } from '../shared/adapters/registry.ts';
import type { BackendName } from '../shared/compute/backend.ts';
import { useBackend } from '../shared/compute/backend.ts';
import { FormatError, UsageError } from '../shared/core/errors.ts';
import { encodeRows } from '../shared/data/encode.ts';
import type { Row } from '../shared/data/row.ts';
import { baseModelFrom } from '../shared/model/load.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { createClassifier } from '../shared/training/classifier.ts';
import { evaluateCounts } from '../shared/training/evaluate.ts';
import { trainLocally } from '../shared/training/train.ts';
import type { Learner, PreparedLearning } from './learner.ts';

/** A site's rows and where it computes. */
export interface ClassificationOptions {
  readonly train: readonly Row[];
  /** Rows that are never trained on; empty where the site evaluates nothing. */
  readonly heldOut: readonly Row[];
  readonly backend: BackendName | 'auto';
  readonly threads?: number;
  /** Told for every plan which back end was taken. */
  readonly onBackend?: (name: BackendName) => void;
}

/** A learner on these rows. */
export function classificationLearner(options: ClassificationOptions): Learner {
  const { train, backend: wanted, threads, onBackend } = options;
  return {
    exampleCount: train.length,
    prepare: async (plan, baseFiles) => {
      const backend = await useBackend(wanted, threads === undefined ? {} : { threads });
      onBackend?.(backend.name);
      return prepareClassification(plan, baseFiles, options);
    },
  };
}

async function prepareClassification(
  plan: Plan,
  baseFiles: ReadonlyMap<string, Uint8Array>,
  { train, heldOut }: ClassificationOptions,
): Promise<PreparedLearning> {
  if (train.length === 0) throw new UsageError('no-rows', 'training needs at least one row, found none');
  const { model, tokenizer } = await baseModelFrom(baseFiles);
  try {
    const { labels, pooling, lengthMax } = plan.task;
    const { digest, positionsMax } = model.description;
    if (lengthMax > positionsMax) {
      throw new FormatError('bad-plan', `the plan has texts of ${lengthMax} tokens, the base only ${positionsMax}`);
    }
    const adapter = parseAdapter(plan.adapter, model.description);
    const classifier = createClassifier({ base: model, adapter, labels, pooling, padId: tokenizer.padId });
    const encoding = { tokenizer, labels, lengthMax };
    const { examples } = encodeRows(train, encoding);
    const { examples: heldOutExamples } = encodeRows(heldOut, encoding);
    return {
      baseDigest: digest,
      layout: classifier.layout,
      heldOutCount: heldOutExamples.length,
      train: async ({ start, roundIndex, onProgress, signal }) => {
        const { count } = plan.rounds;
        const { delta, exampleCount, meanLoss, seconds } = await trainLocally({
          classifier,
          start,
          examples,
          configuration: plan.training,
          seed: plan.training.seed + roundIndex,
          // Void rounds use numbers up, so the last rounds of a federation may lie beyond the schedule: they go on at its end.
          round: { index: Math.min(roundIndex, count - 1), count },
          onProgress: ({ step, stepCount, loss }) => onProgress({ stepsDone: step, stepCount, loss }),
          signal,
        });
        return { delta, exampleCount, meanLoss, seconds };
      },
      evaluate: (parameters, signal) => evaluateCounts({ classifier, parameters, examples: heldOutExamples, signal }),
      dispose: () => model.dispose(),
    };
  } catch (thrown) {
    model.dispose();
    throw thrown;
  }
}
