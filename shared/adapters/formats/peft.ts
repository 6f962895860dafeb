/**
 * Folders of PEFT: `adapter_config.json` and `adapter_model.safetensors`, read and written with the names, shapes and bytes of PEFT's own
 * `save_pretrained`. Saved modules (`modules_to_save`, a classifier's head) come back as they stand; `heads.ts` says what they mean.
 *
 * A field that PEFT does not know must not be written (`shared/decisions/0008-digest-of-the-base-in-exported-adapters.md`): some versions refuse
 * such a configuration, others drop the fields of the method with it. What we add stands in the metadata of the tensors' file.
 */

import { InvariantError } from '../../core/assert.ts';
import { utf8 } from '../../core/bytes.ts';
import { FormatError, UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { parseJsonObject } from '../../model/configuration.ts';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../../model/safetensors.ts';
import { shown } from '../../plan/problems.ts';
import { type BoundAdapter, parseAdapter } from '../registry.ts';
import { anything, checkFields, type FieldRules, isTexts, textsOrNull } from './config-fields.ts';
import { checkForeignTensors, type ForeignTensor, type TensorMapping, toForeign, toOurs } from './foreign-tensors.ts';
import { modulesOf } from './module-paths.ts';
import { peftIa3 } from './peft-ia3.ts';
import { peftLora } from './peft-lora.ts';
import type { BaseTensor, PeftMethod } from './peft-method.ts';
import { peftPrefix, peftPrompt } from './peft-prompts.ts';
import { modulesIn } from './peft-targets.ts';
import { peftVera } from './peft-vera.ts';
import { type PythonValue, pythonJson } from './python-json.ts';

/** Names of the two files. */
export const peftFiles = { configuration: 'adapter_config.json', tensors: 'adapter_model.safetensors' } as const;

/** The types that this version reads and writes: a new one is a line here. */
const methods: readonly PeftMethod[] = [peftLora, peftVera, peftIa3, peftPrefix, peftPrompt];

/** Values of `peft_type` that this version reads and writes. */
export const peftTypes: readonly string[] = methods.map(({ type }) => type);

/** What PEFT says the model that was adapted does; null for none of these. */
const taskTypes = [
  'SEQ_CLS',
  'TOKEN_CLS',
  'CAUSAL_LM',
  'FEATURE_EXTRACTION',
  'SEQ_2_SEQ_LM',
  'QUESTION_ANS',
  null,
] as const;
/** One of them. */
export type PeftTaskType = (typeof taskTypes)[number];

const commonRules: FieldRules = {
  peft_type: anything,
  peft_version: anything,
  base_model_name_or_path: anything,
  revision: anything,
  auto_mapping: anything,
  inference_mode: anything,
  runtime_config: anything,
  modules_to_save: textsOrNull,
  task_type: {
    expected: taskTypes.map((type) => JSON.stringify(type)).join(', '),
    holds: (value) => taskTypes.some((type) => type === value),
  },
};

/** Modules that PEFT saves whole for these tasks, whether or not `modules_to_save` names them. */
const headModules: readonly string[] = ['classifier', 'score'];
const root = 'base_model.model.';

/** What a folder holds. */
export interface PeftContent {
  readonly adapter: BoundAdapter;
  /** The adapter's tensors by our names. */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Where they stand in the file. */
  readonly mappings: readonly TensorMapping[];
  readonly taskType: PeftTaskType;
  /** Whether the bare model was adapted: its paths have no prefix. */
  readonly isBare: boolean;
  /** Tensors of saved modules by their names in the model: `classifier.weight`. */
  readonly saved: ReadonlyMap<string, SafetensorsEntry>;
  readonly modulesToSave: readonly string[] | null;
  /** `base_model_name_or_path`, empty where there is none. */
  readonly baseName: string;
  /** What was left out, one line each. */
  readonly notes: readonly string[];
}

/** For adapters whose files do not depend on the values of the base. */
const noBase: BaseTensor = (name) => {
  throw new InvariantError(`this adapter needs the tensor ${name} of its base`);
};

/**
 * Reads both files on the base for which the adapter was made, as far as names and shapes can tell.
 * @param baseTensor needed for DoRA, whose files have the norms of the base's maps in them.
 * @throws FormatError `bad-json`, `bad-safetensors`, `unsupported-adapter` or `bad-adapter-folder`, naming file, field and tensor.
 */
export function readPeft(
  files: { readonly configuration: Uint8Array; readonly tensors: Uint8Array },
  base: BaseDescription,
  baseTensor: BaseTensor = noBase,
): PeftContent {
  const source = peftFiles.configuration;
  const configuration = parseJsonObject(files.configuration, source);
  const type = configuration.peft_type;
  const method = methods.find((candidate) => candidate.type === type);
  if (method === undefined) {
    const known = peftTypes.join(', ');
    throw new FormatError('unsupported-adapter', `${source}: peft_type must be one of ${known}, found ${shown(type)}`);
  }
  const notes = checkFields(configuration, { ...commonRules, ...method.rules }, source);
  const { tensors } = readSafetensors(files.tensors, peftFiles.tensors);
  const prefix = `${root}${modulesOf(base).model}.`;
  const isBare = ![...tensors.keys()].some((name) => name.startsWith(prefix));
  const taskType = (configuration.task_type ?? null) as PeftTaskType;
  const modulesToSave = isTexts(configuration.modules_to_save) ? configuration.modules_to_save : null;
  const isHead = taskType === 'SEQ_CLS' || taskType === 'TOKEN_CLS';
  const savedNames = [...(modulesToSave ?? []), ...(isHead ? headModules : [])];
  const isSaved = (name: string) =>
    name.startsWith(root) && savedNames.some((module) => modulePathOf(name).endsWith(module));
  const own = new Map([...tensors].filter(([name]) => !isSaved(name)));
  const settings = method.read(configuration, { base, modules: modulesIn(base, isBare), source });
  const adapter = parseAdapter(settings, base);
  const mappings = method.tensors(adapter, base, isBare ? root : prefix);
  checkForeignTensors(mappings, own, peftFiles.tensors);
  const stored = toOurs(mappings, own);
  const values = method.fromFile?.({ adapter, values: stored }, base, baseTensor) ?? stored;
  const saved = [...tensors].filter(([name]) => isSaved(name));
  const baseName = configuration.base_model_name_or_path;
  return {
    adapter,
    values,
    mappings,
    taskType,
    isBare,
    saved: new Map(saved.map(([name, entry]) => [name.slice(root.length), entry])),
    modulesToSave,
    baseName: typeof baseName === 'string' ? baseName : '',
    notes,
  };
}

/** `classifier.dense.weight` belongs to a module whose path ends in a saved name: `classifier.dense`, or one above it. */
function modulePathOf(name: string): string {
  const path = name.slice(root.length);
  const parts = path.split('.').slice(0, -1);
  const known = parts.findIndex((part) => headModules.includes(part) || part === 'pooler' || part === 'pre_classifier');
  return known === -1 ? parts.join('.') : parts.slice(0, known + 1).join('.');
}

/** What {@link writePeft} needs. */
export interface PeftWriting {
  readonly adapter: BoundAdapter;
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly base: BaseDescription;
  readonly taskType: PeftTaskType;
  readonly isBare?: boolean;
  /** Tensors of saved modules by their names in the model. */
  readonly saved?: ReadonlyMap<string, ForeignTensor>;
  readonly modulesToSave?: readonly string[] | null;
  /** What to load the base by: a name on the Hub, or a path. */
  readonly baseName?: string;
  /** Added to the metadata of the tensors' file. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Needed for DoRA. */
  readonly baseTensor?: BaseTensor;
}

/** The bytes of both files. @throws UsageError `not-exportable` for what PEFT has no place for. */
export function writePeft(writing: PeftWriting): { readonly configuration: Uint8Array; readonly tensors: Uint8Array } {
  const { base, taskType, isBare = false, saved = new Map(), modulesToSave = null } = writing;
  const method = methods.find((candidate) => candidate.methods.includes(writing.adapter.method));
  if (method === undefined) {
    const known = methods.flatMap((candidate) => candidate.methods).join(', ');
    throw new UsageError(
      'not-exportable',
      `PEFT has no place for the method ${writing.adapter.method}; it can hold ${known}. Try --format adapterhub or tributary`,
    );
  }
  if (!method.hasSavedModules && saved.size > 0) {
    throw new UsageError(
      'not-exportable',
      `PEFT saves the head beside a ${method.type} under other names, and reads virtual tokens with it; export the adapter alone with --lora-only, or take --format tributary`,
    );
  }
  const filled = { adapter: writing.adapter, values: writing.values };
  const { adapter, values } = method.toFile?.(filled, base, writing.baseTensor ?? noBase) ?? filled;
  const configuration: Record<string, PythonValue> = {
    auto_mapping: null,
    base_model_name_or_path: writing.baseName ?? '',
    inference_mode: true,
    peft_type: method.type,
    revision: null,
    task_type: taskType,
    ...method.write(adapter, base),
    ...(method.hasSavedModules ? { modules_to_save: modulesToSave } : {}),
  };
  const prefix = isBare ? root : `${root}${modulesOf(base).model}.`;
  const own = toForeign(method.tensors(adapter, base, prefix), values);
  const whole = [...own, ...[...saved].map(([name, tensor]) => [root + name, tensor] as const)];
  whole.sort(([left], [right]) => (left < right ? -1 : 1));
  return {
    configuration: utf8(pythonJson(configuration)),
    tensors: writeSafetensors(new Map(whole), { format: 'pt', ...writing.metadata }),
  };
}
