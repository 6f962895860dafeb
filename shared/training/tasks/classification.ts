/** One label per text: cross-entropy, each row weighted by its label where the plan says so. */
import { encodeText, labelIndexOf } from '../../data/encode.ts';
import type { Row } from '../../data/row.ts';
import { labelledRow } from '../../data/row-fields.ts';
import type { ClassificationTask } from '../../plan/task.ts';
import { countExclusive } from '../decisions.ts';
import { causalPooling, writeGroup } from './shared.ts';
import type { BoundTask, RowForm } from './task.ts';

/** Texts with a label. */
export const classificationRows: RowForm<Row> = {
  read: labelledRow,
  write: (row) => ({ text: row.text, label: row.label, ...writeGroup(row) }),
};

/** Classification with these settings. */
export function classification(task: ClassificationTask): BoundTask<Row> {
  const { labels, pooling, lengthMax, classWeights } = task;
  const indexOf = labelIndexOf(labels);
  const isBinary = labels.length === 2;
  return {
    task,
    metrics: ['accuracy', 'macroF1', ...(isBinary ? (['auroc'] as const) : []), 'loss', 'calibrationError', 'brier'],
    shape: {
      labelCount: labels.length,
      isExclusive: true,
      isTargetRow: true,
      entityCount: 0,
      histogramCount: isBinary ? 1 : 0,
      decisionsPerTarget: 1,
    },
    readout: {
      kind: 'text-head',
      outputCount: labels.length,
      pooling,
      loss: 'cross-entropy',
      weights: classWeights,
    },
    fault: (base) => causalPooling(base, pooling),
    rows: classificationRows,
    encode: (row, tokenizer) => {
      const target = indexOf(row.label, row.line);
      const { ids, isCut } = encodeText(row.text, { tokenizer, lengthMax, line: row.line });
      return { examples: [{ ids, targets: Int32Array.of(target) }], isCut };
    },
    arrange: (examples) => ({ examples, places: [], targets: examples.map(({ targets }) => targets[0]!) }),
    count: (counts, scores, { examples, targets }) => {
      countExclusive(counts, scores, targets as readonly number[], labels.length);
      counts.exampleCount += examples.length;
    },
  };
}
