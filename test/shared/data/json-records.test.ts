import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { type JsonElement, JsonListError, jsonElements } from '../../../shared/data/json-records.ts';

async function* pieces(text: string, size: number): AsyncGenerator<string> {
  for (let start = 0; start < text.length; start += size) yield text.slice(start, start + size);
}

async function elements(text: string, size = text.length, charactersMax = 1000): Promise<JsonElement[]> {
  const found: JsonElement[] = [];
  for await (const element of jsonElements(pieces(text, Math.max(1, size)), charactersMax)) found.push(element);
  return found;
}

/** A value with what could mislead: brackets, quotes and commas in texts and names, "data" at other depths, deep nesting. */
function randomValue(random: ReturnType<typeof seededRandom>, depth: number): unknown {
  const texts = ['', 'data', '[', ']}', ',', '"', '\\', '\\"', '\n', 'größe 🙂', '{"data":[1]}'];
  const kind = random.integer(depth > 3 ? 3 : 5);
  if (kind === 0) return texts[random.integer(texts.length)];
  if (kind === 1) return random.integer(1000) / 8;
  if (kind === 2) return [null, true, false][random.integer(3)];
  const items = Array.from({ length: random.integer(4) }, () => randomValue(random, depth + 1));
  if (kind === 3) return items;
  return Object.fromEntries(items.map((item) => [texts[random.integer(texts.length)], item]));
}

describe('jsonElements', () => {
  it('[JEL-1] finds what JSON.parse finds, however the text is cut into pieces', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = seededRandom(seed, 'json');
      const list = Array.from({ length: random.integer(6) }, () => randomValue(random, 0));
      const before = Object.fromEntries([1, 2].map((n) => [`x${n}`, randomValue(random, 1)]));
      const indent = random.integer(2) * 2;
      for (const document of [list, { ...before, data: list, after: randomValue(random, 1) }]) {
        const text = ` ${JSON.stringify(document, null, indent)}\n`;
        for (const size of [1, 2, 3, 7, text.length]) {
          const values = (await elements(text, size)).map((element) => JSON.parse(element.text!) as unknown);
          assert.deepEqual(values, list, `seed ${seed}, pieces of ${size}`);
        }
      }
    }
  });

  it('[JEL-2] says on which line an element begins, and gives null for one that is too long, in pieces of any size', async () => {
    const text = `[\n1,\n\n"${'x'.repeat(50)}", [\n],\n2]`;
    for (const size of [1, 5, 20, text.length]) {
      assert.deepEqual(await elements(text, size, 20), [
        { text: '1', line: 2 },
        { text: null, line: 4 },
        { text: '[\n]', line: 4 },
        { text: '2', line: 6 },
      ]);
    }
  });

  it('[JEL-3] takes the first list under "data", no other, and refuses a document without one', async () => {
    assert.deepEqual(await elements('{"data": {"data": [1]}, "b": "data", "data": [2]}'), [{ text: '2', line: 1 }]);
    for (const text of [
      '{}',
      '{"data": 1}',
      '{"datas": [1]}',
      '7',
      '',
      '  ',
      '[1',
      '[1,',
      '{"data":[1]',
      '{"a":1',
      '[1] x',
    ]) {
      for (const size of [1, 100]) await assert.rejects(elements(text, size), JsonListError, text);
    }
  });
});
