import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { findDuplicateKey } from '../../../shared/model/json-keys.ts';

describe('findDuplicateKey', () => {
  it('[JKY-1] finds a key that stands twice in one object, however it is written', () => {
    for (const [text, key] of [
      ['{"a":1,"a":2}', 'a'],
      ['{"a":1,"\\u0061":2}', 'a'],
      ['{"a":{"b":[{"c":1,"d":2,"c":3}]}}', 'c'],
      ['[{"a":1},{"a":1,"b":{"x":"}"},"a":2}]', 'a'],
      ['{"":1,"":2}', ''],
      ['{"a\\\\":1,"b":"\\\\","a\\\\":2}', 'a\\'],
      ['{"a\\"":1,"b":"{\\"a","a\\"":2}', 'a"'],
    ] as const)
      assert.equal(findDuplicateKey(text), key, text);
  });

  it('[JKY-2] is not misled by values, nested objects, brackets in strings and names of prototypes', () => {
    for (const text of [
      '{"a":"a","b":["a","a"]}',
      '{"a":{"a":{"a":1}},"b":{"a":1}}',
      '[{"a":1},{"a":1}]',
      '{"a":",\\"a\\":","b":"}{","c":"]"}',
      '{"__proto__":1,"constructor":2,"hasOwnProperty":3}',
      '"a"',
      '7',
      '{ }',
    ])
      assert.equal(findDuplicateKey(text), null, text);
  });

  it('[JKY-3] agrees with how many keys a parser keeps, on random documents', () => {
    const random = seededRandom(7, 'json-keys');
    // No key ends with a backslash: of those, engines have been seen to read another.
    const names = ['a', 'b', '\\\\b', '\\"', 'c\\u0061', 'ca', '{', ','];
    let found = 0;
    const documentOf = (depth: number): { text: string; keys: number } => {
      const kind = depth === 0 ? 0 : random.integer(3);
      if (kind === 0) return { text: `"${names[random.integer(names.length)]}"`, keys: 0 };
      const parts = Array.from({ length: random.integer(4) }, () => documentOf(depth - 1));
      const inside = parts.reduce((sum, { keys }) => sum + keys, 0);
      if (kind === 1) return { text: `[${parts.map(({ text }) => text).join(',')}]`, keys: inside };
      const entries = parts.map(({ text }) => `"${names[random.integer(names.length)]}" : ${text}`);
      return { text: `{${entries.join(' , ')}}`, keys: inside + parts.length };
    };
    const kept = (value: unknown): number => {
      if (typeof value !== 'object' || value === null) return 0;
      const own = Array.isArray(value) ? 0 : Object.keys(value).length;
      return Object.values(value).reduce((sum: number, part) => sum + kept(part), own);
    };
    for (let trial = 0; trial < 2000; trial++) {
      const { text, keys } = documentOf(4);
      const isDouble = findDuplicateKey(text) !== null;
      assert.equal(isDouble, kept(JSON.parse(text)) < keys, text);
      if (isDouble) found++;
    }
    assert.ok(found > 100 && found < 1900, `${found} documents of 2000 had a key twice`);
  });
});
