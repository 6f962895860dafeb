/** Results as JSON lines: every finished cell is appended at once, so that an interrupted run goes on where it was. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { FormatError } from '../../shared/core/errors.ts';

/** What every result has. */
interface KeptResult {
  readonly cell: { readonly method: string };
  readonly accuracy: number;
}

/** Results by the key of their cells, which `keyOf` gives; a missing file has none. An incomplete last line, left by an interruption, is no result. @throws FormatError on any other. */
export function readResults<Result extends KeptResult>(
  path: string,
  keyOf: (cell: Result['cell']) => string,
): Map<string, Result> {
  const results = new Map<string, Result>();
  if (!existsSync(path)) return results;
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const result = parseLine<Result>(line);
    if (result !== null) results.set(keyOf(result.cell), result);
    else if (index < lines.length - 1) {
      throw new FormatError('bad-result', `${path}, line ${index + 1}: expected one result, found something else`);
    }
  }
  return results;
}

function parseLine<Result>(line: string): Result | null {
  try {
    const value = JSON.parse(line);
    return typeof value?.accuracy === 'number' && typeof value?.cell?.method === 'string' ? value : null;
  } catch {
    return null;
  }
}

/** Adds one result. A line break before it keeps it apart from an incomplete line. */
export function appendResult(path: string, result: KeptResult): void {
  const isBroken = existsSync(path) && !readFileSync(path, 'utf8').endsWith('\n') && readFileSync(path).length > 0;
  appendFileSync(path, `${isBroken ? '\n' : ''}${JSON.stringify(result)}\n`);
}
