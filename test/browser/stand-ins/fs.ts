/** Stands in for `node:fs` and `node:fs/promises` in pages: reads files and folders from the page's server. */

/** What a folder holds, as far as tests ask. */
interface FolderEntry {
  readonly name: string;
  isDirectory(): boolean;
}

type Place = string | URL;

/** Reads synchronously, which a page may do with text alone; every character stands for one byte. */
export function readFileSync(path: Place, encoding?: 'utf8'): Uint8Array | string {
  const bytes = request(path);
  if (bytes === null) throw new Error(`the server has no ${String(path)}`);
  return encoding === undefined ? bytes : new TextDecoder().decode(bytes);
}

/** Whether the server has a file. */
export function existsSync(path: Place): boolean {
  return request(path) !== null;
}

function request(path: Place): Uint8Array | null {
  const question = new XMLHttpRequest();
  question.open('GET', path, false);
  question.overrideMimeType('text/plain; charset=x-user-defined');
  question.send();
  return question.status === 200 ? Uint8Array.from(question.responseText, (one) => one.charCodeAt(0) & 0xff) : null;
}

/** Reads a file. */
export async function readFile(path: Place, encoding?: 'utf8'): Promise<Uint8Array | string> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`the server has no ${String(path)}`);
  return encoding === undefined ? new Uint8Array(await answer.arrayBuffer()) : answer.text();
}

/** Lists a folder. */
export async function readdir(path: string, options?: { readonly withFileTypes: true }): Promise<unknown[]> {
  const answer = await fetch(`${path}/`);
  if (!answer.ok) throw new Error(`the server has no ${path}`);
  const entries = (await answer.json()) as { readonly name: string; readonly isFolder: boolean }[];
  if (options === undefined) return entries.map(({ name }) => name);
  return entries.map(({ name, isFolder }): FolderEntry => ({ name, isDirectory: () => isFolder }));
}
