/** Folders with one adapter: `adapter.json` and `adapter.safetensors`. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorMessage, UsageError } from '../core/errors.ts';
import { safetensorsHeaderBytesMax } from '../core/limits.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { type AdapterDocument, encodeAdapterDocument, readAdapterTensors } from './adapter-document.ts';
import { type AdapterManifest, manifestBytesMax, parseAdapterManifest, requireBase } from './adapter-manifest.ts';

const files = { manifest: 'adapter.json', tensors: 'adapter.safetensors' } as const;

/** Writes an adapter into `folder`, which is made if it is not there; an adapter that stands there is replaced. */
export async function writeAdapterFolder(folder: string, document: AdapterDocument): Promise<void> {
  const { manifest, tensors } = encodeAdapterDocument(document);
  await mkdir(folder, { recursive: true });
  // The manifest comes last: a folder that has one was written to its end, and the hash in it catches what was not.
  await writeFile(join(folder, files.tensors), tensors);
  await writeFile(join(folder, files.manifest), manifest);
}

/**
 * Reads and checks an adapter. With `base`, an adapter made for another one is refused before its tensors are read.
 * @throws UsageError `unreadable-file` or `wrong-base`; FormatError when a file is not what it should be.
 */
export async function readAdapterFolder(
  folder: string,
  { base }: { readonly base?: Pick<BaseDescription, 'digest' | 'family'> } = {},
): Promise<AdapterDocument> {
  const manifest = await readManifest(folder, base);
  const tensorsFile = join(folder, files.tensors);
  const bytes = await readBounded(tensorsFile, 8 + safetensorsHeaderBytesMax + 4 * manifest.layout.dim);
  return readAdapterTensors(manifest, bytes, tensorsFile);
}

/** Reads and checks what an adapter says it is, for `base` if that is given, without its values. @throws as {@link readAdapterFolder}. */
export async function readManifest(
  folder: string,
  base?: Pick<BaseDescription, 'digest' | 'family'>,
): Promise<AdapterManifest> {
  const manifestFile = join(folder, files.manifest);
  const manifest = parseAdapterManifest(await readBounded(manifestFile, manifestBytesMax), manifestFile);
  if (base !== undefined) requireBase(manifest, base);
  return manifest;
}

async function readBounded(path: string, bytesMax: number): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > bytesMax) throw new Error(`it has ${size} bytes, expected at most ${bytesMax}`);
    return await readFile(path);
  } catch (cause) {
    const folder = dirname(path);
    const next = existsSync(join(folder, 'adapter_config.json'))
      ? `${folder} holds an adapter of PEFT or AdapterHub, which "tributary adapters import" makes one of ours`
      : `an adapter is a folder with ${files.manifest} and ${files.tensors}`;
    throw new UsageError('unreadable-file', `${path} cannot be read: ${errorMessage(cause)}; ${next}`, { cause });
  }
}
