/** Finds keys that stand twice in one object: `JSON.parse` keeps the last of them without a word. */

/** Signs of JSON that matter here, as codes. */
const quote = 0x22;
const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * The first key that stands twice in an object of the JSON document `text`, or null. `text` must be valid JSON. One pass over it, since
 * tokenizers have megabytes.
 */
export function findDuplicateKey(text: string): string | null {
  /** Keys of the objects that are open; null for arrays. */
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const sign = text.charCodeAt(at);
    if (sign === quote) {
      const end = endOfString(text, at);
      if (expectsKey) {
        const key = keyOf(text.slice(at, end + 1));
        const keys = open.at(-1)!;
        if (keys.has(key)) return key;
        keys.add(key);
        expectsKey = false;
      }
      at = end;
    } else if (sign === openBrace || sign === openBracket) {
      expectsKey = sign === openBrace;
      open.push(expectsKey ? new Set() : null);
    } else if (sign === closeBrace || sign === closeBracket) {
      open.pop();
      expectsKey = false;
    } else if (sign === comma) expectsKey = open.at(-1) instanceof Set;
  }
  return null;
}

/** Where the string that begins at `start` has its closing quote: the first that an even number of backslashes stands before. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let first = end;
    while (text[first - 1] === '\\') first--;
    if ((end - first) % 2 === 0) return end;
  }
}

function keyOf(literal: string): string {
  return literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1);
}
