/** Finds keys that stand twice in one object: `JSON.parse` keeps the last of them without a word. */

/** The first key that stands twice in an object of the JSON document `text`, or null. `text` must be valid JSON. */
export function findDuplicateKey(text: string): string | null {
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/g;
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (const [found] of text.matchAll(token)) {
    if (found === '{' || found === '[') {
      open.push(found === '{' ? new Set() : null);
      expectsKey = found === '{';
    } else if (found === '}' || found === ']') {
      open.pop();
      expectsKey = false;
    } else if (found === ',') expectsKey = open.at(-1) instanceof Set;
    else if (found !== ':' && expectsKey) {
      const key = JSON.parse(found) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
      expectsKey = false;
    }
  }
  return null;
}
