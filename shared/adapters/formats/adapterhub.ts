/**
 * Folders of AdapterHub's `adapters` 1.2 with its safetensors variant (`save_adapter(..., use_safetensors=True)`): `adapter_config.json` and
 * `adapter.safetensors`, and of a head `head_config.json` and `model_head.safetensors`, with the names, shapes and bytes of the library's own.
 */
import { utf8 } from '../../core/bytes.ts';
import { FormatError, UsageError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { type Configuration, parseJsonObject } from '../../model/configuration.ts';
import { readSafetensors, writeSafetensors } from '../../model/safetensors.ts';
import { shown } from '../../plan/problems.ts';
import { type BoundAdapter, parseAdapter } from '../registry.ts';
import { adapterHubBottleneck } from './adapterhub-bottleneck.ts';
import { adapterHubCompacter } from './adapterhub-compacter.ts';
import { adapterHubIa3 } from './adapterhub-ia3.ts';
import { adapterHubLora } from './adapterhub-lora.ts';
import type { AdapterHubMethod } from './adapterhub-method.ts';
import { adapterHubPrefix } from './adapterhub-prefix.ts';
import { adapterHubPrompt } from './adapterhub-prompt.ts';
import { anything, checkFields, type FieldRules, isObject } from './config-fields.ts';
import { checkForeignTensors, type TensorMapping, toForeign, toOurs } from './foreign-tensors.ts';
import { modulesOf } from './module-paths.ts';
import { pythonJson } from './python-json.ts';

/** Names of the files. */
export const adapterHubFiles = {
  configuration: 'adapter_config.json',
  tensors: 'adapter.safetensors',
  headConfiguration: 'head_config.json',
  headTensors: 'model_head.safetensors',
} as const;

/** The architectures that this version reads and writes: a new one is a line here. */
const methods: readonly AdapterHubMethod[] = [
  adapterHubBottleneck,
  adapterHubCompacter,
  adapterHubLora,
  adapterHubIa3,
  adapterHubPrefix,
  adapterHubPrompt,
];

/** Version of the library whose files these are. */
const libraryVersion = 'adapters.1.2.0';

/** Fields around the configuration of an adapter or a head. */
export const envelopeRules: FieldRules = {
  config: { expected: 'an object', holds: isObject },
  name: { expected: 'a name', holds: (value) => typeof value === 'string' && value !== '' },
  hidden_size: anything,
  label2id: anything,
  model_class: anything,
  model_name: anything,
  model_type: anything,
  num_labels: anything,
  type: anything,
  version: anything,
};

/** What a folder holds. */
export interface AdapterHubContent {
  readonly adapter: BoundAdapter;
  /** The adapter's tensors by our names. */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Where they stand in the file. */
  readonly mappings: readonly TensorMapping[];
  /** The adapter's name. */
  readonly name: string;
  /** Whether the names lack the prefix of a model with a head. */
  readonly isBare: boolean;
  /** `model_name`, empty where there is none. */
  readonly baseName: string;
  /** What was left out, one line each. */
  readonly notes: readonly string[];
}

/**
 * Reads an adapter's two files on the base for which it was made, as far as names, sizes and shapes can tell.
 * @throws FormatError `bad-json`, `bad-safetensors`, `unsupported-adapter` or `bad-adapter-folder`, naming file, field and tensor.
 */
export function readAdapterHub(
  files: { readonly configuration: Uint8Array; readonly tensors: Uint8Array },
  base: BaseDescription,
): AdapterHubContent {
  const source = adapterHubFiles.configuration;
  const whole = parseJsonObject(files.configuration, source);
  const notes = checkFields(whole, envelopeRules, source);
  const refuse = (problem: string): never => {
    throw new FormatError('unsupported-adapter', `${source}: ${problem}`, { context: { source } });
  };
  checkHost(whole, base, refuse);
  const { architecture = null, ...configuration } = whole.config as Configuration;
  const method = methods.find((one) =>
    one.recognises(architecture === 'bottleneck' ? null : architecture, configuration),
  );
  if (method === undefined) {
    const known = 'null, "bottleneck", "lora", "prefix_tuning" or "prompt_tuning"';
    return refuse(`config.architecture must be ${known}, found ${shown(architecture)}`);
  }
  notes.push(...checkFields(configuration, method.rules, `${source}: config`));
  const { tensors } = readSafetensors(files.tensors, adapterHubFiles.tensors);
  const prefix = `${modulesOf(base).model}.`;
  const isBare = ![...tensors.keys()].some((name) => name.startsWith(prefix));
  const adapter = parseAdapter(method.read(configuration, { base, version: versionOf(whole.version) }), base);
  const name = String(whole.name);
  const mappings = method.tensors(adapter, base, { prefix: isBare ? '' : prefix, name });
  checkForeignTensors(mappings, tensors, adapterHubFiles.tensors);
  const baseName = typeof whole.model_name === 'string' ? whole.model_name : '';
  return { adapter, values: toOurs(mappings, tensors), mappings, name, isBare, baseName, notes };
}

/** Refuses files of another family or width. */
export function checkHost(whole: Configuration, base: BaseDescription, refuse: (problem: string) => never): void {
  if (whole.config === undefined || whole.name === undefined) refuse('expected the fields config and name');
  const { model_type: family = null, hidden_size: width = null } = whole;
  if (family !== null && family !== base.family)
    refuse(`model_type must be ${base.family}, as the base is, found ${shown(family)}`);
  if (width !== null && width !== base.hiddenSize)
    refuse(`hidden_size must be ${base.hiddenSize}, as the base has, found ${shown(width)}`);
}

/** `adapters.1.2.0` as numbers; null for versions of the library's predecessor, whose numbers mean something else. */
function versionOf(version: unknown): readonly number[] | null {
  const match = /^adapters\.(\d+)\.(\d+)\.(\d+)/.exec(String(version));
  return match === null ? null : match.slice(1).map(Number);
}

/** What stands around the configuration of an adapter or a head. */
export function envelopeOf(
  base: BaseDescription,
  { name, baseName }: { readonly name: string; readonly baseName: string },
) {
  return {
    hidden_size: base.hiddenSize,
    model_class: `${modulesOf(base).classPrefix}AdapterModel`,
    model_name: baseName === '' ? null : baseName,
    model_type: base.family,
    name,
    version: libraryVersion,
  };
}

/** What {@link writeAdapterHub} needs. */
export interface AdapterHubWriting {
  readonly adapter: BoundAdapter;
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly base: BaseDescription;
  /** The adapter's name: letters, digits, `_` and `-`. */
  readonly name: string;
  readonly isBare?: boolean;
  /** What to load the base by: a name on the Hub, or a path. */
  readonly baseName?: string;
  /** Metadata of the tensors' file; the library writes none. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The bytes of an adapter's two files. @throws UsageError `not-exportable` for what AdapterHub has no place for. */
export function writeAdapterHub(writing: AdapterHubWriting): {
  readonly configuration: Uint8Array;
  readonly tensors: Uint8Array;
} {
  const { base, name, isBare = false, baseName = '', metadata = {} } = writing;
  const method = methods.find((candidate) => candidate.method === writing.adapter.method);
  if (method === undefined) {
    const known = methods.map((candidate) => candidate.method).join(', ');
    throw new UsageError(
      'not-exportable',
      `AdapterHub has no place for the method ${writing.adapter.method}; it can hold ${known}. Try --format peft or tributary`,
    );
  }
  const filled = { adapter: writing.adapter, values: writing.values };
  const { adapter, values } = method.toFile?.(filled) ?? filled;
  const configuration = { ...envelopeOf(base, { name, baseName }), config: method.write(adapter, base) };
  const prefix = isBare ? '' : `${modulesOf(base).model}.`;
  const tensors = toForeign(method.tensors(adapter, base, { prefix, name }), values);
  return { configuration: utf8(pythonJson(configuration)), tensors: writeSafetensors(tensors, metadata) };
}
