/** Stands in for the reading of folders with checkpoints in pages. */
import { readdir, readFile } from './fs.ts';

const names = /^(config|tokenizer|tokenizer_config)\.json$|\.safetensors(\.index\.json)?$/;

/** The files of a checkpoint's folder. */
export async function readBaseFiles(folder: string): Promise<Map<string, Uint8Array>> {
  const wanted = ((await readdir(folder)) as string[]).filter((name) => names.test(name));
  const files = wanted.map(async (name) => [name, (await readFile(`${folder}/${name}`)) as Uint8Array] as const);
  return new Map(await Promise.all(files));
}
