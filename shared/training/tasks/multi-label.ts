/** Any number of labels per text: one binary cross-entropy per label, a label is predicted above a probability of one half. */
import { encodeText, labelIndexOf } from '../../data/encode.ts';
import type { MultiLabelRow } from '../../data/row.ts';
import { columnOf, namesIn, placeOf, textIn } from '../../data/row-fields.ts';
import type { MultiLabelTask } from '../../plan/task.ts';
import { countIndependent } from '../decisions.ts';
import { causalPooling, writeGroup } from './shared.ts';
import type { BoundTask, RowForm } from './task.ts';

/** Labels up to which areas under curves are computed: the histograms of more would not fit one message beside the rest. */
const histogramsMax = 64;

/** Texts with a list of labels. */
export const multiLabelRows: RowForm<MultiLabelRow> = {
  read: (view, columns) => ({
    text: textIn(view, columnOf(view, [columns.text ?? 'text'])),
    labels: namesIn(view, columnOf(view, [columns.label ?? 'labels']), { separator: '|', names: columns.names }),
    ...placeOf(view, columns),
  }),
  write: (row) => ({ text: row.text, labels: row.labels, ...writeGroup(row) }),
};

/** Multi-label classification with these settings. */
export function multiLabel(task: MultiLabelTask): BoundTask<MultiLabelRow> {
  const { labels, pooling, lengthMax, classWeights } = task;
  const indexOf = labelIndexOf(labels);
  const hasHistograms = labels.length <= histogramsMax;
  return {
    task,
    metrics: [
      'microF1',
      'macroF1',
      'accuracy',
      ...(hasHistograms ? (['auroc'] as const) : []),
      'loss',
      'calibrationError',
      'brier',
    ],
    shape: {
      labelCount: labels.length,
      isExclusive: false,
      isTargetRow: true,
      entityCount: 0,
      histogramCount: hasHistograms ? labels.length : 0,
      decisionsPerTarget: labels.length,
    },
    readout: {
      kind: 'text-head',
      outputCount: labels.length,
      pooling,
      loss: 'binary-cross-entropy',
      weights: classWeights,
    },
    fault: (base) => causalPooling(base, pooling),
    rows: multiLabelRows,
    encode: (row, tokenizer) => {
      const indices = [...new Set(row.labels.map((label) => indexOf(label, row.line)))];
      const { ids, isCut } = encodeText(row.text, { tokenizer, lengthMax, line: row.line });
      return { examples: [{ ids, targets: Int32Array.from(indices).sort() }], isCut };
    },
    arrange: (examples) => ({ examples, places: [], targets: examples.map(({ targets }) => targets) }),
    count: (counts, scores, { examples, targets }) => {
      countIndependent(counts, scores, targets as readonly Int32Array[], labels.length);
      counts.exampleCount += examples.length;
    },
  };
}
