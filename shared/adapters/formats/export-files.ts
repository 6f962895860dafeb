/**
 * An adapter as the files of a folder in one of the formats. Beside what the library reads, folders of PEFT and AdapterHub hold our manifest
 * (`tributary.json`): the base's digest, the task with its labels, and the lineage, none of which those formats have a place for. The digest
 * stands in the metadata of the tensors' file too, which may travel alone.
 */
import { UsageError } from '../../core/errors.ts';
import { unflatten } from '../../update/vector.ts';
import { type AdapterDocument, encodeAdapterDocument } from '../adapter-document.ts';
import { adapterOnBase } from '../document-on-base.ts';
import { adapterHubFiles, writeAdapterHub } from './adapterhub.ts';
import { writeAdapterHubHead } from './adapterhub-head.ts';
import { headOf, isOfHead } from './document-head.ts';
import type { ForeignTensor } from './foreign-tensors.ts';
import { type HeadValues, headRemark, publishedHead, writeHead } from './heads.ts';
import { hostModelOf, requirePooling } from './host-model.ts';
import type { OpenBase } from './open-base.ts';
import { peftFiles, writePeft } from './peft.ts';

/** Formats of adapter folders. */
export type AdapterFormat = 'tributary' | 'peft' | 'adapterhub';

/** Our manifest in folders of other formats. */
export const manifestName = 'tributary.json';
/** Metadata of tensors' files. */
export const baseDigestKey = 'tributary.base';

/** What {@link exportFiles} needs. */
export interface ExportRequest {
  readonly document: AdapterDocument;
  readonly base: OpenBase;
  readonly format: AdapterFormat;
  /** Without the head: for servers that refuse saved modules. */
  readonly loraOnly?: boolean;
  /** Name of the adapter, for AdapterHub. */
  readonly name: string;
  /** What to load the base by: a name on the Hub, or a path. */
  readonly baseName: string;
}

/** Files by name, and what a reader of them has to know. */
export interface ExportedFiles {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly remarks: readonly string[];
}

/**
 * The files. The base is held against the adapter's digest first.
 * @throws UsageError `wrong-base`; `not-exportable` with the reason and what can be done.
 */
export function exportFiles(request: ExportRequest): ExportedFiles {
  const { document, base, format } = request;
  adapterOnBase(document, base.description);
  const { manifest, tensors } = encodeAdapterDocument(document);
  switch (format) {
    case 'tributary':
      if (request.loraOnly === true)
        refuse('--lora-only is for --format peft and adapterhub; our own folders are whole');
      return {
        files: new Map([
          ['adapter.safetensors', tensors],
          ['adapter.json', manifest],
        ]),
        remarks: [],
      };
    case 'peft':
      return peftExport(request, manifest);
    case 'adapterhub':
      return adapterHubExport(request, manifest);
    default:
      return format satisfies never;
  }
}

function refuse(message: string): never {
  throw new UsageError('not-exportable', message);
}

interface Parts {
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly head: HeadValues | null;
}

/** The adapter's tensors, and the head where it is wanted. */
function partsOf({ document, loraOnly = false }: ExportRequest): Parts {
  const all = unflatten(document.layout, document.parameters);
  const values = new Map([...all].filter(([name]) => !isOfHead(name)));
  if (values.size === 0)
    refuse(
      `the method ${document.adapter.method} has no tensors but the head's, which is no adapter of other libraries; take --format tributary`,
    );
  return { values, head: loraOnly ? null : headOf(document) };
}

function peftExport(request: ExportRequest, manifest: Uint8Array): ExportedFiles {
  const { document, base, baseName, loraOnly = false } = request;
  const { description, tensor: baseTensor } = base;
  const { task } = document;
  const host = hostModelOf(task);
  const { values, head } = partsOf(request);
  const remarks: string[] = [];
  let saved: ReadonlyMap<string, ForeignTensor> = new Map();
  let modulesToSave: readonly string[] | null = null;
  if (head !== null && host.head !== null) {
    requirePooling(task, description.family, 'export the adapter alone with --lora-only, or take --format tributary');
    const written = writeHead(head, host.head, { ...description, baseTensor });
    const remark = headRemark(head, host.head, description.family);
    if (remark !== null) remarks.push(remark);
    const { hidden } = publishedHead(description.family, host.head);
    if (hidden?.inBase === true) {
      // The pooler is the base's own where nothing else is said.
      const isOwn = (['weight', 'bias'] as const).every((part) =>
        sameValues(written.get(`${hidden.path}.${part}`)!.values, tensorOrNull(baseTensor, `pooler.dense.${part}`)),
      );
      if (isOwn) for (const part of ['weight', 'bias']) written.delete(`${hidden.path}.${part}`);
      else modulesToSave = ['classifier', 'pooler'];
    }
    saved = written;
  }
  const taskType = host.head !== null && head === null ? (description.causal ? 'CAUSAL_LM' : null) : host.peftType;
  const { configuration, tensors } = writePeft({
    adapter: adapterOnBase(document, description),
    values,
    base: description,
    taskType,
    saved,
    modulesToSave,
    baseName,
    metadata: { [baseDigestKey]: document.base.digest },
    baseTensor,
  });
  if (loraOnly && host.head !== null) {
    const ranks = document.layout.tensors.flatMap(({ name, shape }) => (name.endsWith('.lora.a') ? [shape[0]!] : []));
    const rank = Math.max(0, ...ranks);
    if (rank > 0)
      remarks.push(
        `Largest rank: ${rank}. Servers pad all adapters to one rank: vLLM needs --max-lora-rank of at least ${rank}.`,
      );
  }
  const files = [
    [peftFiles.configuration, configuration],
    [peftFiles.tensors, tensors],
    [manifestName, manifest],
  ] as const;
  return { files: new Map(files), remarks };
}

function tensorOrNull(baseTensor: (name: string) => Float32Array, name: string): Float32Array | null {
  try {
    return baseTensor(name);
  } catch {
    return null;
  }
}

function sameValues(left: Float32Array, right: Float32Array | null): boolean {
  return right !== null && left.length === right.length && left.every((value, index) => value === right[index]);
}

function adapterHubExport(request: ExportRequest, manifest: Uint8Array): ExportedFiles {
  const { document, base, name, baseName } = request;
  const { description } = base;
  const { task } = document;
  // Refuses what other libraries have no model for.
  hostModelOf(task);
  const { values, head } = partsOf(request);
  const metadata = { [baseDigestKey]: document.base.digest };
  const adapter = adapterOnBase(document, description);
  const own = writeAdapterHub({ adapter, values, base: description, name, baseName, metadata });
  const files = new Map([
    [adapterHubFiles.configuration as string, own.configuration],
    [adapterHubFiles.tensors, own.tensors],
    [manifestName, manifest],
  ]);
  if (head !== null && 'labels' in task) {
    if (document.adapter.method === 'prompt')
      refuse(
        'the head of AdapterHub may read a token of the prompt; export the adapter alone with --lora-only, or take --format tributary',
      );
    requirePooling(task, description.family, 'export the adapter alone with --lora-only, or take --format tributary');
    const written = writeAdapterHubHead(head, task, { base: description, name, baseName, metadata });
    files.set(adapterHubFiles.headConfiguration, written.configuration);
    files.set(adapterHubFiles.headTensors, written.tensors);
  }
  return { files, remarks: [] };
}
