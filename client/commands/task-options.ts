/** The task of `train`: from flags and rows to what a plan would say. */
import { publishedHead } from '../../shared/adapters/formats/heads.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { distinctLabels, labelsInRow, type SeveralRow, type TaskRow } from '../../shared/data/row.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import type { HeadShape, Pooling, Task, TaskKind } from '../../shared/plan/task.ts';

/** What flags say about a task. */
export interface TaskFlags {
  readonly task: TaskKind;
  readonly pooling?: Pooling;
  readonly head?: 'linear' | 'published';
  readonly lengthMax?: number;
  readonly classWeights?: string;
  readonly maskFraction?: number;
}

/** How often rows have each label. */
export type LabelRowCounts = ReadonlyMap<string, number>;

/** Counts the rows of each label. */
export function countLabels(rows: Iterable<TaskRow>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) addLabels(counts, row);
  return counts;
}

/** Adds the labels of one row, each once; mutates `counts`. */
export function addLabels(counts: Map<string, number>, row: TaskRow): void {
  if ('labelOf' in row) {
    for (const pair of tasksInRow(row)) counts.set(pair, (counts.get(pair) ?? 0) + 1);
    return;
  }
  for (const label of new Set(labelsInRow(row))) counts.set(label, (counts.get(label) ?? 0) + 1);
}

/** Task and label of a row, as one text each; none where it names no task. */
function tasksInRow({ labelOf, part }: SeveralRow): string[] {
  if (typeof labelOf !== 'string') return Object.entries(labelOf).map((pair) => JSON.stringify(pair));
  return part === undefined ? [] : [JSON.stringify([part, labelOf])];
}

/** The tasks of rows with their labels, both in the order of their code units. @throws UsageError `one-task`, `one-label`. */
function severalTasksOf({ labels, source }: TaskFacts): { readonly name: string; readonly labels: string[] }[] {
  const found = Map.groupBy(
    [...labels.keys()].map((pair) => JSON.parse(pair) as [string, string]),
    ([name]) => name,
  );
  const tasks = distinctLabels(found.keys()).map((name) => {
    return { name, labels: distinctLabels(found.get(name)!.map(([, label]) => label)) };
  });
  if (tasks.length < 2)
    throw new UsageError(
      'one-task',
      `${source}: expected rows of at least two tasks, found ${tasks.length}; name the column that tells tasks apart (--part-column), or give labels as an object by task`,
    );
  const single = tasks.find((task) => task.labels.length < 2);
  if (single === undefined) return tasks;
  throw new UsageError(
    'one-label',
    `${source}: the task ${single.name} has rows of one label alone, ${single.labels[0]}`,
  );
}

/** Longest texts when nobody says otherwise: what a small base covers. */
export const lengthMaxPreset = 128;

/** What {@link taskOf} needs beside the flags. */
export interface TaskFacts {
  /** Rows with each label; empty for language models. */
  readonly labels: LabelRowCounts;
  readonly rowCount: number;
  readonly base: BaseDescription;
  /** Where the rows come from, for messages. */
  readonly source: string;
}

/**
 * The task of the flags on these rows.
 * @throws UsageError when flags do not belong to the task, the base is too short, or the rows have a single label.
 */
export function taskOf(flags: TaskFlags, facts: TaskFacts): Task {
  const { base } = facts;
  refuseForeignFlags(flags);
  const lengthMax = lengthMaxOf(flags.lengthMax, base);
  switch (flags.task) {
    case 'classification':
    case 'multi-label': {
      const labels = labelsOfRows(facts);
      const form = flags.head === 'published' ? publishedForm(base, flags.pooling) : undefined;
      const pooling = form?.pooling ?? flags.pooling ?? (base.causal ? 'mean' : 'first');
      const classWeights = classWeightsOf(flags, labels, facts);
      const weights = classWeights === undefined ? {} : { classWeights };
      return { kind: flags.task, labels, pooling, lengthMax, ...weights, ...(form && { head: form.head }) };
    }
    case 'several': {
      const pooling = flags.pooling ?? (base.causal ? 'mean' : 'first');
      return { kind: 'several', tasks: severalTasksOf(facts), pooling, lengthMax };
    }
    case 'tokens':
      return { kind: 'tokens', labels: labelsOfRows(facts), lengthMax };
    case 'causal':
      return { kind: 'causal', lengthMax };
    case 'masked':
      return { kind: 'masked', lengthMax, maskFraction: flags.maskFraction ?? 0.15 };
    default:
      return flags.task satisfies never;
  }
}

/** Which tasks an option belongs to; others refuse it. */
const homes: Readonly<Record<'pooling' | 'head' | 'classWeights' | 'maskFraction', readonly TaskKind[]>> = {
  pooling: ['classification', 'multi-label', 'several'],
  head: ['classification', 'multi-label'],
  classWeights: ['classification', 'multi-label'],
  maskFraction: ['masked'],
};
const flagNames = {
  pooling: '--pooling',
  head: '--head',
  classWeights: '--class-weights',
  maskFraction: '--mask-fraction',
} as const;

function refuseForeignFlags(flags: TaskFlags): void {
  for (const [name, kinds] of Object.entries(homes) as [keyof typeof homes, readonly TaskKind[]][]) {
    if (flags[name] === undefined || kinds.includes(flags.task)) continue;
    throw new UsageError(
      'bad-option',
      `${flagNames[name]} belongs to the task ${kinds.join(' and ')}, found --task ${flags.task}`,
    );
  }
}

/** The head that Transformers puts on the base's family, so that exports hold it as it is. */
function publishedForm(
  base: BaseDescription,
  asked: Pooling | undefined,
): { readonly pooling: Pooling; readonly head: HeadShape } {
  const { pooling, hidden, hasBias } = publishedHead(base.family, 'text');
  if (pooling === null || (asked !== undefined && asked !== pooling)) {
    const problem = `--head published: the head of ${base.family} reads the ${pooling} token, found --pooling ${asked}`;
    throw new UsageError('bad-option', problem);
  }
  return { pooling, head: { ...(hidden && { hidden: hidden.activation }), ...(!hasBias && { bias: false }) } };
}

function labelsOfRows({ labels, source }: TaskFacts): string[] {
  const names = distinctLabels(labels.keys());
  if (names.length >= 2) return names;
  throw new UsageError(
    'one-label',
    `${source}: expected rows of at least two labels, found only ${names.length === 0 ? 'rows without any' : JSON.stringify(names[0])}`,
  );
}

/** The asked length, or the preset as far as the base goes. @throws UsageError when the base covers less than was asked for. */
export function lengthMaxOf(asked: number | undefined, { positionsMax, family }: BaseDescription): number {
  if (asked === undefined) return Math.min(lengthMaxPreset, positionsMax);
  if (asked <= positionsMax) return asked;
  throw new UsageError(
    'text-too-long',
    `--length-max: expected at most ${positionsMax}, the positions of this ${family} base, found ${asked}`,
  );
}

/**
 * Weights of labels: none, numbers in the order of the labels, or `balanced`. Balanced weights give every label the same sum of weights: with n
 * rows, k labels and r rows of a label, n / (k r) for labels that exclude each other (King and Zeng 2001), and (n - r) / r for the rows that
 * have a label against those that do not.
 */
export function classWeightsOf(
  { classWeights, task }: Pick<TaskFlags, 'classWeights' | 'task'>,
  names: readonly string[],
  { labels, rowCount }: Pick<TaskFacts, 'labels' | 'rowCount'>,
): number[] | undefined {
  if (classWeights === undefined) return undefined;
  if (classWeights === 'balanced') {
    return names.map((name) => {
      const own = labels.get(name)!;
      const weight = task === 'classification' ? rowCount / (names.length * own) : (rowCount - own) / own;
      // A label that every row has would weigh nothing, and a very rare one everything.
      return Math.min(1e4, Math.max(1e-4, weight));
    });
  }
  const numbers = classWeights.split(',').map(Number);
  if (numbers.length === names.length && numbers.every((value) => value > 0 && value <= 1e6)) return numbers;
  throw new UsageError(
    'bad-option',
    `--class-weights: expected balanced, or ${names.length} numbers above 0 separated by commas, in the order of the labels ${names.slice(0, 12).join(', ')}`,
  );
}
