/**
 * Finds the elements of a JSON list in a stream of text, one by one, so that a document larger than memory can be read: the list is the
 * document itself or stands under the key "data" of an object at the top. Elements are cut out by brackets and quotes alone;
 * `JSON.parse` decides afterwards whether each is valid.
 */

/** An element as text with the line on which it begins, or null in place of a text that is too long to be kept. */
export interface JsonElement {
  readonly text: string | null;
  readonly line: number;
}

/** Thrown when there is no list to be found; `line` is where the search ended. */
export class JsonListError extends Error {
  override readonly name = 'JsonListError';
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

type Mode = 'before' | 'object' | 'list' | 'after';

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openList, closeList, openObject, closeObject, newline] = [0x5b, 0x5d, 0x7b, 0x7d, 0x0a];

/** The elements of the list. @throws JsonListError when the document is no list, holds none under "data", or ends early. */
export async function* jsonElements(chunks: AsyncIterable<string>, charactersMax: number): AsyncGenerator<JsonElement> {
  let mode: Mode = 'before';
  let line = 1;
  /** Open brackets; inside the list, elements stand at `listDepth`. */
  let depth = 0;
  let listDepth = 1;
  let isInString = false;
  let isEscaped = false;
  /** The last string at depth 1 of a top-level object, and whether a colon followed it. */
  let key: string | null = null;
  let isValueNext = false;
  /** The element under way: what earlier chunks held of it, and where it begins in this one (-1: not begun). */
  let held = '';
  let isTooLong = false;
  let elementLine = 1;
  let elementCount = 0;
  /** The last character outside of texts that is no blank: a whole document ends with its bracket. */
  let lastCode = 0;

  for await (const chunk of chunks) {
    let start = mode === 'list' && (held !== '' || isTooLong) ? 0 : -1;
    let keyStart = key !== null && isInString && mode === 'object' ? 0 : -1;
    const take = (end: number): JsonElement => {
      const text: string | null = isTooLong ? null : held + chunk.slice(start, end);
      held = '';
      isTooLong = false;
      start = -1;
      elementCount++;
      return { text: text === null || text.length > charactersMax ? null : text.trimEnd(), line: elementLine };
    };
    for (let at = 0; at < chunk.length; at++) {
      const code = chunk.charCodeAt(at);
      if (code === newline) line++;
      if (isInString) {
        if (isEscaped) isEscaped = false;
        else if (code === backslash) isEscaped = true;
        else if (code === quote) {
          isInString = false;
          if (keyStart >= 0) key += chunk.slice(keyStart, at);
          keyStart = -1;
        }
        continue;
      }
      if (code <= 0x20) continue;
      lastCode = code;
      if (mode === 'after') continue;
      if (mode === 'before') {
        if (code !== openList && code !== openObject)
          throw new JsonListError(line, 'expected a list or an object, found neither');
        mode = code === openList ? 'list' : 'object';
        depth = 1;
        continue;
      }
      if (mode === 'object' && depth === 1) {
        if (isValueNext && key === 'data' && code === openList) {
          mode = 'list';
          depth = listDepth = 2;
          continue;
        }
        if (code === quote && !isValueNext) {
          key = '';
          keyStart = at + 1;
        }
        isValueNext = code === colon || (isValueNext && code !== comma);
      }
      if (mode === 'list' && depth === listDepth) {
        const isEnd = code === closeList;
        if (code === comma || isEnd) {
          if (start >= 0 || !isEnd) yield start < 0 ? { text: '', line } : take(at);
          else if (elementCount > 0) yield { text: '', line };
          if (isEnd) mode = 'after';
          continue;
        }
        if (start < 0) {
          start = at;
          elementLine = line;
        }
      }
      if (code === quote) isInString = true;
      else if (code === openList || code === openObject) depth++;
      else if (code === closeList || code === closeObject) depth--;
      if (mode === 'object' && depth === 0)
        throw new JsonListError(line, 'the object has no list under the key "data"');
    }
    if (keyStart >= 0) key += chunk.slice(keyStart);
    if (start >= 0 && !isTooLong) {
      held += chunk.slice(start);
      isTooLong = held.length > charactersMax;
      if (isTooLong) held = '';
    }
  }
  if (mode === 'before') throw new JsonListError(line, 'the file is empty');
  if (mode !== 'after') throw new JsonListError(line, 'the document ends before its list does');
  if (lastCode !== (listDepth === 1 ? closeList : closeObject)) {
    throw new JsonListError(line, 'the document does not end with its closing bracket');
  }
}
