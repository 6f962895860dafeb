/**
 * An adapter document from the files of a folder of PEFT or AdapterHub.
 *
 * Which base a foreign adapter was trained on, its files do not say: names, layer count and the shape of every target must fit, and whoever
 * imports names the base. What we exported carries the digest, in our manifest and in the metadata of the tensors, and is refused on another
 * base before a tensor is read.
 */
import { FormatError, UsageError } from '../../core/errors.ts';
import { readSafetensors, type SafetensorsEntry, tensorValues } from '../../model/safetensors.ts';
import { type Task, taskSchema } from '../../plan/task.ts';
import { taskLayout } from '../../training/initial-adapter.ts';
import { flatten } from '../../update/vector.ts';
import { type AdapterDocument, createAdapterDocument } from '../adapter-document.ts';
import { type AdapterManifest, parseAdapterManifest, requireBase } from '../adapter-manifest.ts';
import type { BoundAdapter } from '../registry.ts';
import { adapterHubFiles, readAdapterHub } from './adapterhub.ts';
import { type AdapterHubHead, readAdapterHubHead } from './adapterhub-head.ts';
import { isObject } from './config-fields.ts';
import { headShapeOf, headTensors } from './document-head.ts';
import { baseDigestKey, exportFiles, manifestName } from './export-files.ts';
import { type HeadKind, type HeadValues, headShapes, publishedHead, readHead } from './heads.ts';
import type { OpenBase } from './open-base.ts';
import { type PeftContent, peftFiles, readPeft } from './peft.ts';

/** Files of a folder by name. */
export type FolderFiles = ReadonlyMap<string, Uint8Array>;

/** What a reader may add to what the files say. */
export interface ImportOptions {
  /** Labels in the order of the head's outputs. */
  readonly labels?: readonly string[];
  /** Longest example in tokens. */
  readonly lengthMax?: number;
}

/** What came of it. */
export interface ImportedAdapter {
  readonly document: AdapterDocument;
  readonly format: 'peft' | 'adapterhub';
  /** What was left out or assumed, one line each. */
  readonly notes: readonly string[];
}

/** Files that an importer reads, as far as they are there. */
export const importedNames: readonly string[] = [
  peftFiles.configuration,
  peftFiles.tensors,
  adapterHubFiles.tensors,
  adapterHubFiles.headConfiguration,
  adapterHubFiles.headTensors,
  manifestName,
];

/** Tokens of an example where nobody says how many. */
const lengthMaxPreset = 128;

/**
 * Reads an adapter.
 * @throws UsageError `wrong-base` with both digests; FormatError naming file, field and tensor for what does not fit or is not understood.
 */
export function importFiles(files: FolderFiles, base: OpenBase, options: ImportOptions = {}): ImportedAdapter {
  const manifestBytes = files.get(manifestName);
  const manifest = manifestBytes === undefined ? null : parseAdapterManifest(manifestBytes, manifestName);
  if (manifest !== null) requireBase(manifest, base.description);
  for (const name of [peftFiles.tensors, adapterHubFiles.tensors, adapterHubFiles.headTensors]) {
    const bytes = files.get(name);
    if (bytes !== undefined) requireDigest(readSafetensors(bytes, name).metadata, base, name);
  }
  const format = files.has(peftFiles.tensors) ? 'peft' : 'adapterhub';
  const read = format === 'peft' ? fromPeft(files, base) : fromAdapterHub(files, base);
  const notes = [...read.notes];
  if (manifest === null) notes.push(foreignNote(read.baseName));
  const task = taskOf(read, base, manifest, options, notes);
  const layout = taskLayout(read.adapter, base.description, task);
  const values = new Map([...read.values, ...(read.head === null ? [] : headTensors(read.head.values))]);
  const parameters = flatten(layout, values);
  const adapter = read.adapter.configuration;
  const plain = createAdapterDocument({ base: base.description, adapter, task, layout, parameters });
  if (manifest === null) return { document: plain, format, notes };
  return { document: withManifest(plain, manifest, { files, base, format }, notes), format, notes };
}

function requireDigest(metadata: Readonly<Record<string, string>>, { description }: OpenBase, source: string): void {
  const made = metadata[baseDigestKey];
  if (made === undefined || made === description.digest) return;
  throw new UsageError(
    'wrong-base',
    `${source} was made for the base with digest ${made}, found the ${description.family} with digest ${description.digest}; use the base that the adapter was trained on`,
    { context: { source, expected: made, found: description.digest } },
  );
}

/** What is known of the base of a foreign adapter. */
function foreignNote(baseName: string): string {
  const called = baseName === '' ? '' : `, but that they call it ${JSON.stringify(baseName)}`;
  return `the files do not say on which base they were trained${called}: names and shapes fit the one named`;
}

interface ReadFiles {
  /** What the files call their base; empty where they do not. */
  readonly baseName: string;
  readonly adapter: BoundAdapter;
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly head: {
    readonly kind: HeadKind;
    readonly values: HeadValues;
    readonly labelCount: number;
    readonly labels: readonly string[] | null;
    readonly isMultiLabel: boolean;
  } | null;
  readonly notes: readonly string[];
}

function fileOf(files: FolderFiles, name: string): Uint8Array {
  const bytes = files.get(name);
  if (bytes !== undefined) return bytes;
  throw new FormatError('bad-adapter-folder', `the folder has no ${name}`);
}

function fromPeft(files: FolderFiles, base: OpenBase): ReadFiles {
  const { description, tensor } = base;
  const pair = { configuration: fileOf(files, peftFiles.configuration), tensors: fileOf(files, peftFiles.tensors) };
  const content = readPeft(pair, description, tensor);
  const { adapter, values, notes, taskType, baseName } = content;
  if (taskType === 'SEQ_2_SEQ_LM' || taskType === 'QUESTION_ANS')
    throw new FormatError(
      'unsupported-adapter',
      `${peftFiles.configuration}: task_type ${taskType} is no task of this version`,
    );
  return { adapter, values, notes, baseName, head: peftHead(content, base) };
}

/** The head among saved modules. @throws FormatError for tensors that are missing, surplus, or of another shape. */
function peftHead({ saved, taskType }: PeftContent, { description, tensor }: OpenBase): ReadFiles['head'] {
  if (saved.size === 0) return null;
  const kind: HeadKind = taskType === 'TOKEN_CLS' ? 'tokens' : 'text';
  const { family } = description;
  const { output } = publishedHead(family, kind);
  const labelCount = saved.get(`${output}.weight`)?.shape[0] ?? 0;
  const { required, optional } = headShapes(kind, description, labelCount);
  const refuse = (problem: string): never => {
    throw new FormatError('bad-adapter-folder', `${peftFiles.tensors}: ${problem}`);
  };
  for (const name of required.keys()) if (!saved.has(name)) refuse(`the saved head lacks ${name}, which ${family} has`);
  for (const [name, { shape }] of saved) {
    const expected = required.get(name) ?? optional.get(name);
    if (expected === undefined) return refuse(`the saved tensor ${name} is no part of the head of ${family}`);
    if (shape.join() !== expected.join())
      refuse(`${name} has the shape [${shape.join(', ')}], expected [${expected.join(', ')}]`);
  }
  if (labelCount < 2)
    refuse(`a head has at least two outputs, found ${labelCount}: regression is no task of this version`);
  const dense = new Map([...saved].map(([name, entry]) => [name, foreignTensor(entry)]));
  const values = readHead(dense, kind, { ...description, baseTensor: tensor });
  return { kind, values, labelCount, labels: null, isMultiLabel: false };
}

function foreignTensor(entry: SafetensorsEntry) {
  return { shape: entry.shape, values: tensorValues(entry).slice() };
}

function fromAdapterHub(files: FolderFiles, base: OpenBase): ReadFiles {
  const pair = {
    configuration: fileOf(files, adapterHubFiles.configuration),
    tensors: fileOf(files, adapterHubFiles.tensors),
  };
  const { adapter, values, notes, baseName } = readAdapterHub(pair, base.description);
  const headConfiguration = files.get(adapterHubFiles.headConfiguration);
  if (headConfiguration === undefined) return { adapter, values, notes, baseName, head: null };
  const headPair = { configuration: headConfiguration, tensors: fileOf(files, adapterHubFiles.headTensors) };
  const head: AdapterHubHead = readAdapterHubHead(headPair, base.description);
  return {
    adapter,
    values,
    notes: [...notes, ...head.notes],
    baseName,
    head: {
      kind: head.kind === 'tokens' ? 'tokens' : 'text',
      values: head.head,
      labelCount: head.labelCount,
      labels: head.labels,
      isMultiLabel: head.kind === 'multi-label',
    },
  };
}

/** The task: as our manifest has it where it is there and fits, else from the files, the base's configuration and what the caller says. */
function taskOf(
  { head, adapter }: ReadFiles,
  { description, configuration }: OpenBase,
  manifest: AdapterManifest | null,
  options: ImportOptions,
  notes: string[],
): Task {
  const room = description.positionsMax - (adapter.virtualTokens ?? 0);
  const lengthMax = options.lengthMax ?? manifest?.task.lengthMax ?? Math.min(lengthMaxPreset, room);
  if (head === null) {
    if (manifest !== null && !('labels' in manifest.task)) return { ...manifest.task, lengthMax };
    if (options.labels !== undefined)
      throw new UsageError(
        'no-head',
        'the files hold no head, so labels cannot be named; import the adapter without --labels',
      );
    const kind = description.causal ? 'causal' : 'masked';
    notes.push(`the files hold no head: the adapter is one for the task ${kind}, with the output of the base`);
    return taskSchema.parse({ kind, lengthMax });
  }
  const shape = headShapeOf(head.values);
  const own = manifest !== null && 'labels' in manifest.task ? manifest.task : null;
  const labels = options.labels ?? own?.labels ?? head.labels ?? labelsOfBase(configuration, head.labelCount);
  if (labels === null)
    notes.push('the files name no labels: they are LABEL_0, LABEL_1 and so on; name them with --labels');
  const names = labels ?? Array.from({ length: head.labelCount }, (_, index) => `LABEL_${index}`);
  if (names.length !== head.labelCount)
    throw new UsageError(
      'wrong-labels',
      `the head has ${head.labelCount} outputs, expected as many labels, found ${names.length}`,
    );
  if (new Set(names).size < names.length)
    throw new UsageError('wrong-labels', 'the labels must differ from each other');
  const withHead = shape === undefined ? {} : { head: shape };
  const weights = own !== null && 'classWeights' in own ? { classWeights: own.classWeights } : {};
  if (head.kind === 'tokens') return taskSchema.parse({ kind: 'tokens', labels: names, lengthMax, ...withHead });
  const isMultiLabel = own === null ? head.isMultiLabel : own.kind === 'multi-label';
  const { pooling } = publishedHead(description.family, 'text');
  const kind = isMultiLabel ? 'multi-label' : 'classification';
  return taskSchema.parse({ kind, labels: names, pooling, lengthMax, ...weights, ...withHead });
}

/** Labels of the base's own configuration, where they are as many and not only numbered. */
function labelsOfBase(configuration: Readonly<Record<string, unknown>>, labelCount: number): readonly string[] | null {
  const map = configuration.id2label;
  if (!isObject(map)) return null;
  const labels = Array.from({ length: labelCount }, (_, index) => map[String(index)]);
  const isNamed = Object.keys(map).length === labelCount && labels.every((label) => typeof label === 'string');
  return isNamed && !labels.every((label) => /^LABEL_\d+$/.test(String(label))) ? (labels as string[]) : null;
}

/**
 * The document with what our manifest adds: settings of training, which the file's format has no place for, and the lineage. Both hold only
 * for files that are as we wrote them.
 */
function withManifest(
  plain: AdapterDocument,
  manifest: AdapterManifest,
  {
    files,
    base,
    format,
  }: { readonly files: FolderFiles; readonly base: OpenBase; readonly format: 'peft' | 'adapterhub' },
  notes: string[],
): AdapterDocument {
  if (plain.modelHash !== manifest.modelHash || plain.layoutHash !== manifest.layoutHash) {
    const lost = manifest.lineage === null ? '' : '; its lineage does not hold for them';
    notes.push(
      `the files hold other values than ${manifestName} describes: changed since, or in the form that ${format === 'peft' ? 'PEFT' : 'AdapterHub'} needs${lost}`,
    );
    return plain;
  }
  const whole: AdapterDocument = { ...plain, ...manifest, parameters: plain.parameters };
  const name = nameIn(files, format);
  const written = exportFiles({ document: whole, base, format, name, baseName: '' }).files;
  const isSame = settingsOf(written, format) === settingsOf(files, format);
  if (!isSame) notes.push(`the configuration was changed after the export: settings are the file's`);
  return isSame ? whole : { ...plain, lineage: manifest.lineage };
}

function nameIn(files: FolderFiles, format: 'peft' | 'adapterhub'): string {
  if (format === 'peft') return 'adapter';
  return String(parsed(files, adapterHubFiles.configuration).name);
}

function parsed(files: FolderFiles, name: string): Readonly<Record<string, unknown>> {
  return JSON.parse(new TextDecoder().decode(files.get(name))) as Readonly<Record<string, unknown>>;
}

/** What of a configuration is the adapter's: all but the names of things. */
function settingsOf(files: FolderFiles, format: 'peft' | 'adapterhub'): string {
  const {
    base_model_name_or_path: _,
    model_name: __,
    ...settings
  } = parsed(files, format === 'peft' ? peftFiles.configuration : adapterHubFiles.configuration);
  return JSON.stringify(settings);
}
