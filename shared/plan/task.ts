/**
 * What is learned, as a plan and an adapter's manifest say it: one schema per kind, told apart by `kind`. What a kind does stands in
 * `shared/training/tasks`.
 */
import * as z from 'zod/mini';
import { booleanField, choiceField, numberField, sectionField, textField, wholeField } from './fields.ts';
import { nearest } from './nearest.ts';
import { type Problem, shown } from './problems.ts';

/** Which token stands for the text: the first (encoders with a class token), the last, or the mean over all that are not padding. */
export type Pooling = 'first' | 'last' | 'mean';

interface Length {
  /** Longest example in tokens; longer ones are cut, and counted. */
  readonly lengthMax: number;
  /** The part of the rows that is learned from, by the name in the column that tells parts apart; absent means all rows. */
  readonly part?: string | undefined;
}

/** How a trained head is built; absent means linear with a bias. */
export interface HeadShape {
  /** A trained dense map `[hidden, hidden]` with this non-linearity in front, as published classifiers of BERT (tanh) and DistilBERT (relu) have one. */
  readonly hidden?: 'tanh' | 'relu' | undefined;
  /** Whether the linear map has a bias; published classifiers of decoders have none. Default true. */
  readonly bias?: boolean | undefined;
}

interface Labelled extends Length {
  /** Distinct labels in the order of the head's outputs, at least two. */
  readonly labels: readonly string[];
  readonly head?: HeadShape | undefined;
}

/** One label per text. */
export interface ClassificationTask extends Labelled {
  readonly kind: 'classification';
  /** `first` for encoders, `last` for decoders, `mean` for either. */
  readonly pooling: Pooling;
  /**
   * Weight of every label in the training loss, in the order of `labels`; absent means 1. The loss is the mean over rows of weight times
   * cross-entropy. It stands in the plan, so that all sites weigh alike: weights from a site's own counts would pull each site to a
   * different optimum, and the mean of updates to none of them.
   */
  readonly classWeights?: readonly number[] | undefined;
}

/** Any number of labels per text. */
export interface MultiLabelTask extends Labelled {
  readonly kind: 'multi-label';
  readonly pooling: Pooling;
  /** Weight of the rows that have a label, against those that do not, in the order of `labels`; absent means 1. */
  readonly classWeights?: readonly number[] | undefined;
}

/** Several classifications at once: one adapter, and labels and a head for each (`shared/training/tasks/several.ts`). */
export interface SeveralTask extends Length {
  readonly kind: 'several';
  /** At least two, each with a name of its own, which rows have as their part. */
  readonly tasks: readonly {
    /** The only kind there is beside others. */
    readonly kind?: 'classification' | undefined;
    readonly name: string;
    readonly labels: readonly string[];
    readonly classWeights?: readonly number[] | undefined;
  }[];
  readonly pooling: Pooling;
}

/** One tag per word, such as `O`, `B-NAME`, `I-NAME`: de-identification, entities, parts of speech. */
export interface TokensTask extends Labelled {
  readonly kind: 'tokens';
}

/** The next token, scored by the base's own output: of texts, of answers after prompts, of the assistant's turns in chats. */
export interface CausalTask extends Length {
  readonly kind: 'causal';
}

/** Masked tokens, scored by the base's own output. */
export interface MaskedTask extends Length {
  readonly kind: 'masked';
  /** Share of the tokens that are to be guessed. */
  readonly maskFraction: number;
}

/** What is learned. */
export type Task = ClassificationTask | MultiLabelTask | SeveralTask | TokensTask | CausalTask | MaskedTask;
/** Name of a kind of task. */
export type TaskKind = Task['kind'];
/** The task of a kind. */
export type TaskOf<Kind extends TaskKind> = Extract<Task, { readonly kind: Kind }>;

/** Labels of one head: beyond any published classification task, and a head of 2^14 columns still fits a client. */
const labelsMax = 2 ** 14;
/** Tokens of one example: the longest position table among the supported families. */
const lengthMaxMax = 2 ** 15;

const labelsError = `a list of 2 to ${labelsMax} different labels`;
const labels = z
  .array(textField(200, 'text (in quotes if it looks like a number)'), { error: labelsError })
  .check(z.refine((list) => list.length >= 2 && list.length <= labelsMax, { error: labelsError }));
const lengthMax = z._default(wholeField(1, lengthMaxMax), 128);
const part = z.optional(textField(200));
const pooling = choiceField(['first', 'last', 'mean']);
const classWeights = z.optional(
  z.array(numberField({ above: 0, atMost: 1e6 }), { error: 'a list of one number above 0 per label' }),
);
const head = z.optional(
  sectionField({ hidden: z.optional(choiceField(['tanh', 'relu'])), bias: z.optional(booleanField()) }),
);

/** Tasks of one plan: more than any published multi-task training has. */
const tasksMax = 64;
const tasksError = `a list of 2 to ${tasksMax} tasks, each with name and labels`;
const taskName = textField(100, 'a name without dots and blanks').check(
  z.refine((name) => !/[.\s]/.test(name), { error: 'a name without dots and blanks' }),
);
const kindOfSeveral = z.optional(
  z.literal('classification', {
    error:
      'classification, or left out: several tasks share one form of scores, one row per text; train multi-label and tokens as phases of the plan',
  }),
);

const schemas = {
  classification: sectionField({
    kind: z.literal('classification'),
    labels,
    pooling,
    lengthMax,
    part,
    classWeights,
    head,
  }),
  'multi-label': sectionField({
    kind: z.literal('multi-label'),
    labels,
    pooling,
    lengthMax,
    part,
    classWeights,
    head,
  }),
  several: sectionField({
    kind: z.literal('several'),
    tasks: z
      .array(sectionField({ kind: kindOfSeveral, name: taskName, labels, classWeights }), { error: tasksError })
      .check(z.refine((list) => list.length >= 2 && list.length <= tasksMax, { error: tasksError })),
    pooling,
    lengthMax,
    part,
  }),
  tokens: sectionField({ kind: z.literal('tokens'), labels, lengthMax, part, head }),
  causal: sectionField({ kind: z.literal('causal'), lengthMax, part }),
  masked: sectionField({
    kind: z.literal('masked'),
    lengthMax,
    part,
    maskFraction: z._default(numberField({ above: 0, below: 1 }), 0.15),
  }),
} as const satisfies { readonly [Kind in TaskKind]: z.ZodMiniType<TaskOf<Kind>> };

/** Names of all kinds. */
export const taskKinds = Object.keys(schemas) as readonly TaskKind[];

/** Kinds that rows and flags alone describe; several tasks need parts in their rows. */
export const plainTaskKinds = taskKinds.filter((kind) => kind !== 'several');

function unknownKind(found: unknown): string {
  const near = typeof found === 'string' ? nearest(found, taskKinds) : null;
  return `one of ${taskKinds.join(', ')}${near === null ? '' : ` (did you mean ${near}?)`}`;
}

/** Checks a task and fills in defaults; a task without a kind is a classification. */
export const taskSchema = z.pipe(
  z.transform((value: unknown) => {
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isSection && !('kind' in value) ? { ...value, kind: 'classification' } : value;
  }),
  z.discriminatedUnion('kind', Object.values(schemas) as unknown as Schemas, {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? unknownKind((issue.input as { readonly kind?: unknown }).kind)
        : 'a section with the field kind and the fields of that kind',
  }),
);
type Schemas = readonly [
  typeof schemas.classification,
  (typeof schemas)['multi-label'],
  typeof schemas.several,
  typeof schemas.tokens,
  typeof schemas.causal,
  typeof schemas.masked,
];

/** Labels of a task, in the order of the head's outputs; none where the base's own output scores. */
export function labelsOfTask(task: Task): readonly string[] {
  if (task.kind === 'several')
    return task.tasks.flatMap(({ name, labels: own }) => own.map((label) => `${name}: ${label}`));
  return 'labels' in task ? task.labels : [];
}

/** What no single field of a task shows. */
export function crossCheckTask(task: Task): Problem[] {
  if (task.kind === 'several') return crossCheckSeveral(task);
  const names = labelsOfTask(task);
  const repeated = names.findIndex((label, index) => names.indexOf(label) !== index);
  const problems: Problem[] = [];
  if (repeated !== -1) {
    problems.push({
      path: `task.labels[${repeated}]`,
      sentence: `must differ from all labels before it, found ${shown(names[repeated])} twice`,
    });
  }
  const weights = 'classWeights' in task ? task.classWeights : undefined;
  if (weights !== undefined && weights.length !== names.length) {
    problems.push({
      path: 'task.classWeights',
      sentence: `must have one number for each of the ${names.length} labels, found ${weights.length}`,
    });
  }
  return problems;
}

function crossCheckSeveral({ tasks, pooling: way, lengthMax: length }: SeveralTask): Problem[] {
  const names = tasks.map(({ name }) => name);
  return tasks.flatMap(({ name, ...own }, index) => {
    const single = crossCheckTask({ ...own, kind: 'classification', pooling: way, lengthMax: length });
    const inside = single.map(({ path, sentence }) => ({
      path: path.replace(/^task/, `task.tasks[${index}]`),
      sentence,
    }));
    if (names.indexOf(name) === index) return inside;
    return [
      { path: `task.tasks[${index}].name`, sentence: `must differ from all before it, found ${shown(name)} twice` },
      ...inside,
    ];
  });
}
