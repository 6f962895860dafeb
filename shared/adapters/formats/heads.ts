/**
 * Heads of ours as those that Transformers puts on its models, and back. Ours is linear, or a dense map with a non-linearity and then linear;
 * kernels are `[in, out]`, theirs `[out, in]`.
 *
 * | family | text (`…ForSequenceClassification`) | tokens (`…ForTokenClassification`) |
 * |---|---|---|
 * | BERT | first token, `bert.pooler.dense`, tanh, `classifier` | `classifier` |
 * | RoBERTa | first token, `classifier.dense`, tanh, `classifier.out_proj` | `classifier` |
 * | DistilBERT | first token, `pre_classifier`, ReLU, `classifier` | `classifier` |
 * | GPT-2 | last token, `score` without bias | `classifier` |
 * | Llama, Qwen | last token, `score` without bias | `score` |
 *
 * A linear head is written where a dense map is published, too, as one that computes the same but for float32 rounding: tanh is linear near
 * zero (its argument times 2⁻¹²: relative error below 10⁻⁶ for states up to 7), and ReLU above it (states of a layer norm are bounded, a
 * shift lifts them). Reading undoes both. A bias where none is published goes into the weights where a layer norm fixes a linear form of the
 * state: Σ hᵢ/γᵢ = Σ βᵢ/γᵢ. A root-mean-square norm fixes none.
 */
import { UsageError } from '../../core/errors.ts';
import type { ForeignTensor } from './foreign-tensors.ts';
import { transpose } from './matrices.ts';

/** A head of ours. */
export interface HeadValues {
  /** The dense map `[hidden, hidden]` in front, or null. */
  readonly hidden: {
    readonly kernel: Float32Array;
    readonly bias: Float32Array;
    readonly activation: 'tanh' | 'relu';
  } | null;
  /** `[hidden, labels]`. */
  readonly kernel: Float32Array;
  /** `[labels]`, or null for none. */
  readonly bias: Float32Array | null;
}

/** What a head depends on beside its values. */
export interface HeadHost {
  readonly family: string;
  readonly hiddenSize: number;
  readonly layerCount: number;
  /** Values of a tensor of the base, by its name in the bare model. */
  readonly baseTensor: (name: string) => Float32Array;
}

/** Whether a head scores texts or single tokens. */
export type HeadKind = 'text' | 'tokens';

/** The modules of a published head, by their paths in the model. */
export interface PublishedHead {
  /** The dense map and what follows it. */
  readonly hidden: { readonly path: string; readonly activation: 'tanh' | 'relu'; readonly inBase: boolean } | null;
  readonly output: string;
  readonly hasBias: boolean;
  /** The token whose state is scored; null where all are. */
  readonly pooling: 'first' | 'last' | null;
}

const encoders: Readonly<Record<string, PublishedHead>> = {
  bert: {
    hidden: { path: 'bert.pooler.dense', activation: 'tanh', inBase: true },
    output: 'classifier',
    hasBias: true,
    pooling: 'first',
  },
  roberta: {
    hidden: { path: 'classifier.dense', activation: 'tanh', inBase: false },
    output: 'classifier.out_proj',
    hasBias: true,
    pooling: 'first',
  },
  distilbert: {
    hidden: { path: 'pre_classifier', activation: 'relu', inBase: false },
    output: 'classifier',
    hasBias: true,
    pooling: 'first',
  },
};

/** The published head of a family. */
export function publishedHead(family: string, kind: HeadKind): PublishedHead {
  const encoder = encoders[family];
  if (kind === 'tokens') {
    const output = encoder !== undefined || family === 'gpt2' ? 'classifier' : 'score';
    return { hidden: null, output, hasBias: true, pooling: null };
  }
  return encoder ?? { hidden: null, output: 'score', hasBias: false, pooling: 'last' };
}

/** 2⁻¹²: a power of two, so that scaling is exact. */
const tanhScale = 2 ** -12;
/** Largest error that putting a bias into the weights may bring, in scores. */
const foldErrorMax = 1e-4;

/** What a reader of a written head has to know; null for nothing. */
export function headRemark(head: HeadValues, kind: HeadKind, family: string): string | null {
  const { hidden } = publishedHead(family, kind);
  if (hidden === null || head.hidden !== null) return null;
  return (
    `The head is linear, that of ${family} has a dense map (${hidden.path}) with ${hidden.activation} in front: ` +
    'it is written so that it changes nothing but for float32 rounding. Compute it in float32 or bfloat16.'
  );
}

function refuse(problem: string, remedy: string): never {
  throw new UsageError('not-exportable', `the head cannot be written as Transformers' own: ${problem}; ${remedy}`);
}

/**
 * The tensors of the published head, by their names in the model.
 * @throws UsageError `not-exportable` with the reason and what can be done.
 */
export function writeHead(head: HeadValues, kind: HeadKind, host: HeadHost): Map<string, ForeignTensor> {
  const published = publishedHead(host.family, kind);
  const { hiddenSize } = host;
  const fitted = publishable(head, published, host);
  const labelCount = fitted.kernel.length / hiddenSize;
  const tensors = new Map<string, ForeignTensor>();
  const linear = (path: string, kernel: Float32Array, bias: Float32Array | null, outSize: number) => {
    tensors.set(`${path}.weight`, { shape: [outSize, hiddenSize], values: transpose(kernel, hiddenSize) });
    if (bias !== null) tensors.set(`${path}.bias`, { shape: [outSize], values: bias });
  };
  if (published.hidden !== null) linear(published.hidden.path, fitted.hidden!.kernel, fitted.hidden!.bias, hiddenSize);
  linear(published.output, fitted.kernel, fitted.bias, labelCount);
  return tensors;
}

/** A head that computes the same and has the published form. */
function publishable(head: HeadValues, { hidden, hasBias }: PublishedHead, host: HeadHost): HeadValues {
  const withBias = hasBias
    ? { ...head, bias: head.bias ?? new Float32Array(head.kernel.length / host.hiddenSize) }
    : head;
  if (hidden === null) {
    if (head.hidden !== null) refuse('it has a dense map, which this family has not', 'train with a linear head');
    return hasBias ? withBias : withoutBias(head, host);
  }
  if (head.hidden !== null) {
    if (head.hidden.activation === hidden.activation) return withBias;
    return refuse(
      `its dense map ends in ${head.hidden.activation}, that of ${host.family} in ${hidden.activation}`,
      `train with task.head.hidden ${hidden.activation}, or with a linear head`,
    );
  }
  return hidden.activation === 'tanh' ? behindTanh(withBias, host) : behindRelu(withBias, host);
}

function scaledIdentity(size: number, scale: number): Float32Array {
  const kernel = new Float32Array(size * size);
  for (let index = 0; index < size; index++) kernel[index * (size + 1)] = scale;
  return kernel;
}

function behindTanh({ kernel, bias }: HeadValues, { hiddenSize }: HeadHost): HeadValues {
  const hidden = {
    kernel: scaledIdentity(hiddenSize, tanhScale),
    bias: new Float32Array(hiddenSize),
    activation: 'tanh',
  } as const;
  return { hidden, kernel: kernel.map((value) => value / tanhScale), bias };
}

function behindRelu({ kernel, bias }: HeadValues, { hiddenSize, layerCount, baseTensor }: HeadHost): HeadValues {
  const norm = `transformer.layer.${layerCount - 1}.output_layer_norm`;
  const [gain, offset] = [baseTensor(`${norm}.weight`), baseTensor(`${norm}.bias`)];
  // A normalised value is at most √(size - 1) in size.
  const shift = gain.map((value, index) =>
    Math.ceil(Math.abs(value) * Math.sqrt(hiddenSize) + Math.abs(offset[index]!)),
  );
  const hidden = { kernel: scaledIdentity(hiddenSize, 1), bias: shift, activation: 'relu' } as const;
  return { hidden, kernel, bias: shifted(kernel, bias!, shift, -1) };
}

/** bias + sign · kernelᵀ shift, in float64. */
function shifted(kernel: Float32Array, bias: Float32Array, shift: Float32Array, sign: 1 | -1): Float32Array {
  return bias.map((value, label) => {
    let sum = value;
    for (let unit = 0; unit < shift.length; unit++) sum += sign * kernel[unit * bias.length + label]! * shift[unit]!;
    return sum;
  });
}

function withoutBias(head: HeadValues, { family, hiddenSize, baseTensor }: HeadHost): HeadValues {
  const { kernel, bias } = head;
  if (bias === null || bias.every((value) => value === 0)) return { ...head, bias: null };
  const remedy = 'train with task.head.bias false, or export the adapter alone with --lora-only';
  const problem = `it has a bias, that of ${family} has none`;
  if (family !== 'gpt2') return refuse(problem, remedy);
  const [gain, offset] = [baseTensor('ln_f.weight'), baseTensor('ln_f.bias')];
  let form = 0;
  let squares = 0;
  for (let unit = 0; unit < hiddenSize; unit++) {
    const ratio = offset[unit]! / gain[unit]!;
    form += ratio;
    squares += (1 + Math.abs(ratio)) ** 2;
  }
  const largest = bias.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = (2 ** -24 * Math.sqrt(squares) * largest) / Math.abs(form);
  // Written so that NaN is refused.
  if (!(error <= foldErrorMax)) return refuse(`${problem}, and the last norm of this base does not carry one`, remedy);
  const folded = kernel.map((value, index) => {
    const [unit, label] = [Math.floor(index / bias.length), index % bias.length];
    return value + bias[label]! / (form * gain[unit]!);
  });
  return { hidden: null, kernel: folded, bias: null };
}

/**
 * A head of ours from the tensors of a published one, whose names and shapes were checked.
 * @param tensors by name in the model; what the head takes from the base may be absent.
 */
export function readHead(tensors: ReadonlyMap<string, ForeignTensor>, kind: HeadKind, host: HeadHost): HeadValues {
  const { hidden, output, hasBias } = publishedHead(host.family, kind);
  const { hiddenSize } = host;
  const kernelAt = (path: string) => {
    const { values, shape } = tensors.get(`${path}.weight`)!;
    return transpose(values, shape[0]!);
  };
  const bias = hasBias ? tensors.get(`${output}.bias`)!.values : null;
  const kernel = kernelAt(output);
  if (hidden === null) return { hidden: null, kernel, bias };
  const isSaved = tensors.has(`${hidden.path}.weight`);
  const inBase = (part: string) => host.baseTensor(`pooler.dense.${part}`);
  const dense = {
    kernel: isSaved ? kernelAt(hidden.path) : transpose(inBase('weight'), hiddenSize),
    bias: isSaved ? tensors.get(`${hidden.path}.bias`)!.values : inBase('bias'),
    activation: hidden.activation,
  };
  return linearised({ hidden: dense, kernel, bias }, hiddenSize);
}

/** The linear head that was written behind a non-linearity, where it is one. */
function linearised(head: HeadValues, hiddenSize: number): HeadValues {
  const { hidden, kernel, bias } = head;
  if (hidden === null || bias === null) return head;
  const scale = hidden.activation === 'tanh' ? tanhScale : 1;
  const identity = scaledIdentity(hiddenSize, scale);
  if (!hidden.kernel.every((value, index) => value === identity[index])) return head;
  if (hidden.activation === 'tanh') {
    if (!hidden.bias.every((value) => value === 0)) return head;
    return { hidden: null, kernel: kernel.map((value) => value * tanhScale), bias };
  }
  // A shift of a whole number is what writing gives.
  if (!hidden.bias.every((value) => value > 0 && Number.isInteger(value))) return head;
  return { hidden: null, kernel, bias: shifted(kernel, bias, hidden.bias, 1) };
}

/** Names and shapes that the tensors of a published head must have; `inBase` says whether a dense map of the base may be absent. */
export function headShapes(
  kind: HeadKind,
  { family, hiddenSize }: Pick<HeadHost, 'family' | 'hiddenSize'>,
  labelCount: number,
): {
  readonly required: ReadonlyMap<string, readonly number[]>;
  readonly optional: ReadonlyMap<string, readonly number[]>;
} {
  const { hidden, output, hasBias } = publishedHead(family, kind);
  const linear = (path: string, outSize: number, biased: boolean): [string, readonly number[]][] => [
    [`${path}.weight`, [outSize, hiddenSize]],
    ...(biased ? [[`${path}.bias`, [outSize]] as [string, readonly number[]]] : []),
  ];
  const dense = hidden === null ? [] : linear(hidden.path, hiddenSize, true);
  const outputs = linear(output, labelCount, hasBias);
  const isOptional = hidden?.inBase === true;
  return {
    required: new Map([...(isOptional ? [] : dense), ...outputs]),
    optional: new Map(isOptional ? dense : []),
  };
}
