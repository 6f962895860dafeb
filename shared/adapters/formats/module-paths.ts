/**
 * Where the maps of our bases stand in the models of Transformers: PEFT and AdapterHub name their tensors after module paths, such as
 * `bert.encoder.layer.0.attention.self.query`. A model with a head holds the bare model under a prefix (`bert.`); a bare model has none.
 */
import { UsageError } from '../../core/errors.ts';
import type { BaseDescription, LinearSite, LinearTarget } from '../../model/base-model.ts';

/** What Transformers calls the parts of one family. */
export interface FamilyModules {
  /** Name of the bare model within one with a head. */
  readonly model: string;
  /** Path of the list of blocks within the bare model. */
  readonly blocks: string;
  /** Beginning of the names of its classes: `Bert` of `BertForSequenceClassification`. */
  readonly classPrefix: string;
  /** Linear maps outside the blocks, as paths within a model with any head: a suffix that names them names more than a block's map. */
  readonly otherLinears: readonly string[];
  /** Whether block weights are stored `[in, out]` (`Conv1D`); `[out, in]` otherwise. */
  readonly storesInOut: boolean;
}

const bertHeads = [
  'cls.predictions.transform.dense',
  'cls.predictions.decoder',
  'cls.seq_relationship',
  'classifier',
  'qa_outputs',
];
const robertaHeads = [
  'lm_head.dense',
  'lm_head.decoder',
  'classifier',
  'classifier.dense',
  'classifier.out_proj',
  'qa_outputs',
];
const decoderHeads = ['lm_head', 'score', 'classifier', 'qa_outputs'];
const decoder = { blocks: 'layers', model: 'model', otherLinears: decoderHeads, storesInOut: false };

const families: Readonly<Record<string, FamilyModules>> = {
  bert: {
    model: 'bert',
    blocks: 'encoder.layer',
    classPrefix: 'Bert',
    otherLinears: ['bert.pooler.dense', ...bertHeads],
    storesInOut: false,
  },
  roberta: {
    model: 'roberta',
    blocks: 'encoder.layer',
    classPrefix: 'Roberta',
    otherLinears: ['roberta.pooler.dense', ...robertaHeads],
    storesInOut: false,
  },
  distilbert: {
    model: 'distilbert',
    blocks: 'transformer.layer',
    classPrefix: 'DistilBert',
    otherLinears: ['vocab_transform', 'vocab_projector', 'pre_classifier', 'classifier', 'qa_outputs'],
    storesInOut: false,
  },
  gpt2: {
    model: 'transformer',
    blocks: 'h',
    classPrefix: 'GPT2',
    otherLinears: ['transformer.wte', 'transformer.wpe', ...decoderHeads],
    storesInOut: true,
  },
  llama: { ...decoder, classPrefix: 'Llama' },
  qwen2: { ...decoder, classPrefix: 'Qwen2' },
  qwen3: { ...decoder, classPrefix: 'Qwen3' },
};

/** The modules of a base's family. @throws UsageError `unsupported-family` for one whose names nobody here knows. */
export function modulesOf({ family }: Pick<BaseDescription, 'family'>): FamilyModules {
  const known = Object.hasOwn(families, family) ? families[family] : undefined;
  if (known !== undefined) return known;
  throw new UsageError(
    'unsupported-family',
    `the module names of ${family} are not known here; files of PEFT and AdapterHub work with ${Object.keys(families).join(', ')}`,
  );
}

/** Path of a block's map within the bare model: `encoder.layer.0.attention.self.query`. */
export function pathOf(base: BaseDescription, { layerIndex, target }: LinearSite): string {
  return `${modulesOf(base).blocks}.${layerIndex}.${base.linearTargets[target]!.moduleName}`;
}

/**
 * The maps of one block that are modules of their own in Transformers, in the order of the description: a fused query, key and value map
 * is one.
 */
export function wholeTargetsOf({ linearTargets }: BaseDescription): LinearTarget[] {
  const targets = Object.keys(linearTargets) as LinearTarget[];
  const parts: readonly LinearTarget[] = linearTargets.qkv === undefined ? [] : ['q', 'k', 'v'];
  return targets.filter((target) => !parts.includes(target));
}
