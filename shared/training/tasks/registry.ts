/** The kinds of task by name. */
import type { Task, TaskKind, TaskOf } from '../../plan/task.ts';
import { causal, causalRows } from './causal.ts';
import { classification, classificationRows } from './classification.ts';
import { masked, textRows } from './masked.ts';
import { multiLabel, multiLabelRows } from './multi-label.ts';
import { several, severalRows } from './several.ts';
import type { BoundTask, RowForm } from './task.ts';
import { taggedRows, tokens } from './tokens.ts';

/** Every kind: a new one is a line here. */
const kinds: { readonly [Kind in TaskKind]: (task: TaskOf<Kind>) => BoundTask } = {
  classification,
  'multi-label': multiLabel,
  several,
  tokens,
  causal,
  masked,
};

/** How every kind reads and writes its rows. */
export const rowForms: { readonly [Kind in TaskKind]: RowForm } = {
  classification: classificationRows,
  'multi-label': multiLabelRows,
  several: severalRows,
  tokens: taggedRows,
  causal: causalRows,
  masked: textRows,
};

/** Binds a kind of task to its settings, as a plan or an adapter's manifest has them. */
export function bindTask(task: Task): BoundTask {
  return kinds[task.kind](task as never);
}
