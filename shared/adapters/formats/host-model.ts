/** The model of Transformers that an adapter and its task make of a base: its class, its head, and what its configuration says. */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import type { Configuration } from '../../model/configuration.ts';
import type { Task } from '../../plan/task.ts';
import { type HeadKind, publishedHead } from './heads.ts';
import { modulesOf } from './module-paths.ts';
import type { PeftTaskType } from './peft.ts';

/** What Transformers and PEFT call a kind of task. */
interface HostModel {
  readonly classSuffix: string;
  readonly peftType: PeftTaskType;
  /** The head that is trained; null where the base's own output scores. */
  readonly head: HeadKind | null;
}

const models: Readonly<Record<Exclude<Task['kind'], 'several'>, HostModel>> = {
  classification: { classSuffix: 'ForSequenceClassification', peftType: 'SEQ_CLS', head: 'text' },
  'multi-label': { classSuffix: 'ForSequenceClassification', peftType: 'SEQ_CLS', head: 'text' },
  tokens: { classSuffix: 'ForTokenClassification', peftType: 'TOKEN_CLS', head: 'tokens' },
  causal: { classSuffix: 'ForCausalLM', peftType: 'CAUSAL_LM', head: null },
  // PEFT has no name for masked language models.
  masked: { classSuffix: 'ForMaskedLM', peftType: null, head: null },
};

/** The model for a task. @throws UsageError `not-exportable` for several tasks, which no model of Transformers has. */
export function hostModelOf(task: Task): HostModel {
  if (task.kind !== 'several') return models[task.kind];
  const names = task.tasks.map(({ name }) => name).join(', ');
  throw new UsageError(
    'not-exportable',
    `an adapter with heads for several tasks has no model in other libraries: take one of them (${names}) with adapters export --task, or --format tributary for the whole`,
  );
}

/** Name of the class: `BertForSequenceClassification`; GPT-2 calls its language model otherwise. */
export function className(base: BaseDescription, { kind }: Pick<Task, 'kind'>): string {
  if (base.family === 'gpt2' && kind === 'causal') return 'GPT2LMHeadModel';
  const suffix = kind === 'several' ? 'Model' : models[kind].classSuffix;
  return `${modulesOf(base).classPrefix}${suffix}`;
}

/**
 * Refuses a way of pooling that the published model has not.
 * @throws UsageError `not-exportable` with what can be done, of which `remedy` is a part.
 */
export function requirePooling(task: Task, family: string, remedy: string): void {
  if (!('pooling' in task)) return;
  const { pooling } = publishedHead(family, 'text');
  if (task.pooling === pooling) return;
  const own = task.pooling === 'mean' ? 'mean of all tokens' : `${task.pooling} token`;
  throw new UsageError(
    'not-exportable',
    `the head reads the ${own}, models of ${family} in other libraries the ${pooling} token; train with task.pooling ${pooling} (--pooling ${pooling}), ${remedy}`,
  );
}

/** The first path components of what stands beside the bare model in models with any head. */
const headRoots =
  /^(cls|lm_head|vocab_transform|vocab_layer_norm|vocab_projector|classifier|pre_classifier|score|qa_outputs)\./;

/** Whether a tensor of a checkpoint belongs to a head and not to the bare model. */
export function isHeadTensor(name: string): boolean {
  return headRoots.test(name);
}

/** `config.json` of the model with its head. */
export function hostConfiguration(
  base: BaseDescription,
  configuration: Configuration,
  { task, type }: { readonly task: Task; readonly type: string },
): Record<string, unknown> {
  const dtype = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[type] ?? 'float32';
  const own: Record<string, unknown> = { ...configuration, architectures: [className(base, task)] };
  own['dtype' in configuration ? 'dtype' : 'torch_dtype'] = dtype;
  if (!('labels' in task)) return own;
  const { labels } = task;
  own.id2label = Object.fromEntries(labels.map((label, index) => [String(index), label]));
  own.label2id = Object.fromEntries(labels.map((label, index) => [label, index]));
  if (task.kind !== 'tokens')
    own.problem_type = task.kind === 'multi-label' ? 'multi_label_classification' : 'single_label_classification';
  // Without it, Transformers reads the last position and not the last token that is none of padding.
  if (base.causal) own.pad_token_id = configuration.pad_token_id ?? configuration.eos_token_id ?? null;
  return own;
}
