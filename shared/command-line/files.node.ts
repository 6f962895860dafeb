/** Files that commands read and write for people: text, with errors that say which file and what to do. */
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { errorMessage, UsageError } from '../core/errors.ts';

/** The text of a file. @throws UsageError `unreadable-file`. */
export async function fileText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  });
}

/** Writes a file; `isNew`: which must not be there yet. @throws UsageError `file-exists`, `unwritable-file`. */
export async function writeText(
  path: string,
  text: string,
  { mode = 0o644, isNew = false }: { readonly mode?: number; readonly isNew?: boolean } = {},
): Promise<void> {
  await writeFile(path, text, { mode, flag: isNew ? 'wx' : 'w' }).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new UsageError('file-exists', `${path} is there already, and is not overwritten; give another name`, {
        cause,
      });
    const next = 'give a path in a folder that exists and that you may write to';
    throw new UsageError('unwritable-file', `cannot write ${path}: ${errorMessage(cause)}; ${next}`, { cause });
  });
}

/**
 * The text of a file with a secret key. Where others may read it, that is taken from them, and `warn` hears what it was: the key may have been seen.
 * @throws UsageError `unreadable-file`.
 */
export async function secretText(path: string, warn: (line: string) => void): Promise<string> {
  const text = await fileText(path);
  const mode = (await stat(path)).mode & 0o777;
  if (process.platform === 'win32' || (mode & 0o077) === 0) return text;
  const before = `${path} could be read by others (mode ${mode.toString(8)})`;
  await chmod(path, 0o600).then(
    () => warn(`${before}; it is 600 now: whoever read it has the key`),
    () => warn(`${before}: make it 600; whoever read it has the key`),
  );
  return text;
}
