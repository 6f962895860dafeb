/**
 * Prediction heads in AdapterHub's files: `heads.<name>.1` for a linear head (dropout, linear), `heads.<name>.1` and `.4` for a dense map, its
 * non-linearity and a linear one. They score the first token on encoders and the last on decoders, or every token.
 */
import { utf8 } from '../../core/bytes.ts';
import { FormatError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { parseJsonObject } from '../../model/configuration.ts';
import { readSafetensors, writeSafetensors } from '../../model/safetensors.ts';
import type { Task } from '../../plan/task.ts';
import { adapterHubFiles, checkHost, envelopeOf, envelopeRules } from './adapterhub.ts';
import { anything, checkFields, count, type FieldRules, isObject, off, oneOf } from './config-fields.ts';
import { headTensors } from './document-head.ts';
import { checkForeignTensors, type TensorMapping, toForeign, toOurs } from './foreign-tensors.ts';
import type { HeadValues } from './heads.ts';
import { pythonJson } from './python-json.ts';

const types = {
  classification: 'classification',
  'multi-label': 'multilabel_classification',
  tokens: 'tagging',
} as const;
type HeadTask = keyof typeof types;

const rules: FieldRules = {
  head_type: oneOf(...Object.values(types)),
  num_labels: count,
  layers: oneOf(1, 2),
  activation_function: anything,
  label2id: { expected: 'a map from labels to indices, or null', holds: (value) => value === null || isObject(value) },
  use_pooler: off,
  bias: { expected: 'true or false', holds: (value) => typeof value === 'boolean' },
  dropout_prob: anything,
};

interface HeadLayout {
  readonly name: string;
  readonly hiddenSize: number;
  readonly labelCount: number;
  readonly hasHidden: boolean;
  readonly hasBias: boolean;
}

function mappingsOf({ name, hiddenSize, labelCount, hasHidden, hasBias }: HeadLayout): TensorMapping[] {
  const linear = (index: number, own: string, size: number, biased: boolean): TensorMapping[] => [
    { name: `heads.${name}.${index}.weight`, shape: [size, hiddenSize], parts: [`${own}.kernel`], transposed: true },
    ...(biased
      ? [{ name: `heads.${name}.${index}.bias`, shape: [size], parts: [`${own}.bias`], transposed: false }]
      : []),
  ];
  if (!hasHidden) return linear(1, 'head', labelCount, hasBias);
  return [...linear(1, 'head.hidden', hiddenSize, true), ...linear(4, 'head', labelCount, hasBias)];
}

/** A head from a file. */
export interface AdapterHubHead {
  readonly kind: HeadTask;
  /** In the order of the outputs; null where the file has none. */
  readonly labels: readonly string[] | null;
  readonly labelCount: number;
  readonly head: HeadValues;
  readonly notes: readonly string[];
}

/** Reads a head's two files. @throws FormatError as `readAdapterHub`. */
export function readAdapterHubHead(
  files: { readonly configuration: Uint8Array; readonly tensors: Uint8Array },
  base: BaseDescription,
): AdapterHubHead {
  const source = adapterHubFiles.headConfiguration;
  const whole = parseJsonObject(files.configuration, source);
  const refuse = (problem: string): never => {
    throw new FormatError('unsupported-adapter', `${source}: ${problem}`, { context: { source } });
  };
  if (!isObject(whole.config))
    refuse('config must be that of a flexible head; load it into an AutoAdapterModel and save it again');
  const notes = checkFields(whole, envelopeRules, source);
  checkHost(whole, base, refuse);
  const configuration = whole.config as Readonly<Record<string, unknown>>;
  notes.push(...checkFields(configuration, rules, `${source}: config`));
  const kind = (Object.keys(types) as HeadTask[]).find((one) => types[one] === configuration.head_type);
  const labelCount = configuration.num_labels;
  if (kind === undefined || typeof labelCount !== 'number' || labelCount < 2)
    return refuse('config must have a head_type, and a num_labels of at least 2');
  const hasHidden = (configuration.layers ?? (kind === 'tokens' ? 1 : 2)) === 2;
  const activation = configuration.activation_function ?? 'tanh';
  if (hasHidden && activation !== 'tanh' && activation !== 'relu')
    return refuse(`activation_function must be tanh or relu, found ${JSON.stringify(activation)}`);
  const layout = {
    name: String(whole.name),
    hiddenSize: base.hiddenSize,
    labelCount,
    hasHidden,
    hasBias: configuration.bias !== false,
  };
  const mappings = mappingsOf(layout);
  const { tensors } = readSafetensors(files.tensors, adapterHubFiles.headTensors);
  checkForeignTensors(mappings, tensors, adapterHubFiles.headTensors);
  const values = toOurs(mappings, tensors);
  const dense = values.get('head.hidden.kernel');
  const head: HeadValues = {
    hidden:
      dense === undefined
        ? null
        : { kernel: dense, bias: values.get('head.hidden.bias')!, activation: activation as 'tanh' | 'relu' },
    kernel: values.get('head.kernel')!,
    bias: values.get('head.bias') ?? null,
  };
  return { kind, labels: labelsOf(configuration.label2id, labelCount, refuse), labelCount, head, notes };
}

function labelsOf(map: unknown, labelCount: number, refuse: (problem: string) => never): readonly string[] | null {
  if (!isObject(map)) return null;
  const labels = Object.entries(map).sort(([, left], [, right]) => Number(left) - Number(right));
  if (labels.length !== labelCount || labels.some(([, id], index) => Number(id) !== index))
    return refuse(`label2id must have each of the indices 0 to ${labelCount - 1} once`);
  return labels.map(([label]) => label);
}

/** The bytes of a head's two files. */
export function writeAdapterHubHead(
  head: HeadValues,
  task: Extract<Task, { readonly kind: HeadTask }>,
  {
    base,
    ...host
  }: {
    readonly base: BaseDescription;
    readonly name: string;
    readonly baseName: string;
    readonly metadata: Readonly<Record<string, string>>;
  },
): { readonly configuration: Uint8Array; readonly tensors: Uint8Array } {
  const { labels, kind } = task;
  const config = {
    activation_function: head.hidden?.activation ?? 'tanh',
    dropout_prob: null,
    head_type: types[kind],
    label2id: Object.fromEntries(labels.map((label, index) => [label, index])),
    layers: head.hidden === null ? 1 : 2,
    num_labels: labels.length,
    // A tagging head has neither field.
    ...(kind === 'tokens' ? {} : { bias: head.bias !== null, use_pooler: false }),
  };
  const mappings = mappingsOf({
    name: host.name,
    hiddenSize: base.hiddenSize,
    labelCount: labels.length,
    hasHidden: head.hidden !== null,
    hasBias: head.bias !== null || kind === 'tokens',
  });
  const own = headTensors(kind === 'tokens' ? { ...head, bias: head.bias ?? new Float32Array(labels.length) } : head);
  return {
    configuration: utf8(pythonJson({ ...envelopeOf(base, host), config })),
    tensors: writeSafetensors(toForeign(mappings, own), host.metadata),
  };
}
