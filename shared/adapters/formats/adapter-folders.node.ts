/** Folders of adapters on disk, in every format: which one a folder holds, reading what can be imported, writing what was exported. */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorMessage, FormatError, UsageError } from '../../core/errors.ts';
import { adapterParametersMax, safetensorsHeaderBytesMax } from '../../core/limits.ts';
import { parseJsonObject } from '../../model/configuration.ts';
import type { AdapterDocument } from '../adapter-document.ts';
import { readAdapterFolder } from '../adapter-folder.node.ts';
import { manifestBytesMax } from '../adapter-manifest.ts';
import type { AdapterFormat } from './export-files.ts';
import { type FolderFiles, type ImportOptions, importedNames, importFiles } from './import-files.ts';
import type { OpenBase } from './open-base.ts';

/** Pickles by name, with the way to a file that can be read. A pickle runs code when it is read, so none is. */
const pickles: Readonly<Record<string, string>> = {
  'adapter_model.bin':
    'PeftModel.from_pretrained(base, DIR).save_pretrained(DIR, safe_serialization=True) of PEFT writes adapter_model.safetensors',
  'pytorch_adapter.bin':
    'model.load_adapter(DIR), then model.save_adapter(DIR, NAME, use_safetensors=True) of AdapterHub writes adapter.safetensors',
  'pytorch_model_head.bin':
    'model.load_head(DIR), then model.save_head(DIR, NAME, use_safetensors=True) of AdapterHub writes model_head.safetensors',
};

/** The format of a folder; null for one that holds no adapter. */
async function formatOf(folder: string): Promise<AdapterFormat | null> {
  const names = await namesIn(folder);
  if (names.includes('adapter.json')) return 'tributary';
  if (!names.includes('adapter_config.json')) return null;
  const configuration = parseJsonObject(await readBounded(join(folder, 'adapter_config.json')), 'adapter_config.json');
  return 'peft_type' in configuration ? 'peft' : 'adapterhub';
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    throw new UsageError('unreadable-file', `${folder} cannot be read: ${errorMessage(cause)}`, { cause });
  }
}

/** No file of tensors is larger; all others are smaller than a manifest may be. */
const tensorsBytesMax = 8 + safetensorsHeaderBytesMax + 4 * adapterParametersMax;

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    const bytesMax = path.endsWith('.safetensors') ? tensorsBytesMax : manifestBytesMax;
    if (size > bytesMax) throw new Error(`it has ${size} bytes, expected at most ${bytesMax}`);
    return await readFile(path);
  } catch (cause) {
    throw new UsageError('unreadable-file', `${path} cannot be read: ${errorMessage(cause)}`, { cause });
  }
}

/** An adapter from a folder of any format. */
export interface ReadAdapter {
  readonly document: AdapterDocument;
  readonly format: AdapterFormat;
  /** What was left out or assumed, one line each. */
  readonly notes: readonly string[];
}

/**
 * Reads an adapter on its base.
 * @throws UsageError `no-adapter`, `wrong-base` with both digests, `unreadable-file`; FormatError `unsafe-file` for pickles, and for what
 * does not fit or is not understood.
 */
export async function readAnyAdapter(
  folder: string,
  base: OpenBase,
  options: ImportOptions = {},
): Promise<ReadAdapter> {
  const format = await formatOf(folder);
  if (format === 'tributary')
    return { document: await readAdapterFolder(folder, { base: base.description }), format, notes: [] };
  const files = await readFolderFiles(folder);
  if (format === null) {
    throw new UsageError(
      'no-adapter',
      `${folder} holds no adapter: expected adapter.json (tributary) or adapter_config.json (PEFT, AdapterHub)`,
    );
  }
  return importFiles(files, base, options);
}

async function readFolderFiles(folder: string): Promise<FolderFiles> {
  const names = await namesIn(folder);
  for (const [name, remedy] of Object.entries(pickles)) {
    const safe =
      name === 'pytorch_model_head.bin'
        ? ['model_head.safetensors']
        : ['adapter_model.safetensors', 'adapter.safetensors'];
    if (!names.includes(name) || safe.some((one) => names.includes(one))) continue;
    throw new FormatError(
      'unsafe-file',
      `${join(folder, name)} is a pickle, which runs code when it is read; convert it where you trust it: ${remedy}`,
      { context: { file: name } },
    );
  }
  const files = new Map<string, Uint8Array>();
  for (const name of importedNames) if (names.includes(name)) files.set(name, await readBounded(join(folder, name)));
  return files;
}

/**
 * Writes the files of an exported adapter into `folder`, which is made if it is not there; an adapter of the same format that stands there is
 * replaced.
 * @throws UsageError `folder-not-empty` where one of another format does.
 */
export async function writeAdapterFiles(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
  format: AdapterFormat,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const found = await formatOf(folder);
  if (found !== null && found !== format)
    throw new UsageError(
      'folder-not-empty',
      `${folder} already holds an adapter in the format ${found}; name another folder with --out`,
    );
  // Configurations come last: a folder that has one was written to its end.
  const isConfiguration = (name: string) => name === 'adapter.json' || name === 'adapter_config.json';
  const ordered = [...files].sort(([left], [right]) => Number(isConfiguration(left)) - Number(isConfiguration(right)));
  for (const [name, bytes] of ordered) await writeFile(join(folder, name), bytes);
}

/** Licence that the card of a base names in its front matter (`license: apache-2.0`); null where there is none. */
export async function licenseOf(folder: string): Promise<string | null> {
  const names = await namesIn(folder);
  if (!names.includes('README.md')) return null;
  const text = new TextDecoder().decode(await readBounded(join(folder, 'README.md')));
  const [, frontMatter] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text) ?? [];
  return /^license:\s*["']?([A-Za-z0-9._+-]+)["']?\s*$/m.exec(frontMatter ?? '')?.[1] ?? null;
}
