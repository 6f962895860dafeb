import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FormatError, UsageError } from '../../../shared/core/errors.ts';
import type { ColumnMapping } from '../../../shared/data/row-fields.ts';
import { readRows } from '../../../shared/data/rows.node.ts';

describe('readRows', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-rows-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const read = (name: string, content: string | Uint8Array, mapping?: ColumnMapping) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return readRows(path, mapping);
  };
  const refuses = async (name: string, content: string | Uint8Array, pattern: RegExp, mapping?: ColumnMapping) => {
    await assert.rejects(read(name, content, mapping), (thrown: unknown) => {
      assert.ok(thrown instanceof FormatError, String(thrown));
      assert.match(thrown.message, pattern);
      assert.ok(thrown.message.includes(name), 'the message names the file');
      return true;
    });
  };

  it('[ROW-1] reads JSON Lines, plain and compressed, with a byte order mark, blank lines and Windows line ends', async () => {
    const expected = [
      { text: 'open an account', label: 'open', line: 1 },
      { text: 'größer\nzwei 🙂', label: '3', line: 3 },
    ];
    const content = '\uFEFF{"text":"open an account","label":"open"}\r\n\r\n{"label":3,"text":"größer\\nzwei 🙂"}';
    assert.deepEqual(await read('a.jsonl', content), expected);
    assert.deepEqual(await read('a.jsonl.gz', gzipSync(content)), expected);
  });

  it('[ROW-2] reads long files whose characters fall across the borders of chunks', async () => {
    const lines = Array.from({ length: 20_000 }, (_, index) =>
      JSON.stringify({ text: `größe ${'é'.repeat(index % 50)}🙂`, label: index % 3 }),
    );
    const rows = await read('long.jsonl.gz', gzipSync(lines.join('\n')));
    assert.equal(rows.length, lines.length);
    assert.deepEqual(
      rows.map(({ text, label }) => JSON.stringify({ text, label: Number(label) })),
      lines,
    );
  });

  it('[ROW-3] reads CSV with quoted newlines, a byte order mark and mapped columns; a row has the line on which it begins', async () => {
    const content = '\uFEFFid,message,intent,bank\n1,"first\nsecond ""quoted""",pay,A\n\n2,"a,b",block,B\n';
    const mapping = { text: 'message', label: 'intent', group: 'bank' };
    const expected = [
      { text: 'first\nsecond "quoted"', label: 'pay', line: 2, group: 'A' },
      { text: 'a,b', label: 'block', line: 5, group: 'B' },
    ];
    assert.deepEqual(await read('b.csv', content, mapping), expected);
    assert.deepEqual(await read('b.csv.gz', gzipSync(content), mapping), expected);
  });

  it('[ROW-4] reports a bad row with file, line and reason', async () => {
    const good = '{"text":"a","label":"b"}\n';
    await refuses('c.jsonl', `${good}{"text":"a"}`, /line 2: the column "label" is missing; there are: "text"/);
    await refuses('c.jsonl', `${good}\n{"text":"a",`, /line 3: expected one JSON object, found invalid JSON/);
    await refuses('c.jsonl', `${good}[1]`, /line 2: expected a JSON object, found a list/);
    await refuses('c.jsonl', '{"text":7,"label":"b"}', /line 1: expected text in "text", found a number/);
    await refuses('c.jsonl', '{"text":"a","label":null}', /line 1: expected text, a whole number .* found null/);
    await refuses('c.jsonl', '{"text":"a","label":1.5}', /line 1: expected text, a whole number/);
    await refuses('c.jsonl', '{"text":" \\t","label":"b"}', /line 1: the column "text" is empty/);
    await refuses(
      'c.jsonl',
      `{"text":"${'x'.repeat(1_000_001)}","label":"b"}`,
      /line 1: the text in "text" has 1000001 characters/,
    );
    await refuses('c.jsonl', `${good}${'x'.repeat(9_000_000)}`, /line 2: the line is longer than/);
    await refuses('c.jsonl', '\n', /expected at least one row/);
    await refuses('d.csv', 'text,intent\na,b\n', /line 1: the column "label" is missing; there are: "text", "intent"/);
    await refuses('d.csv', 'text,label\na,b\nc\n', /line 3: broken CSV/);
    await refuses('d.csv', 'text,label\na,b\n"c,d\n', /line \d: broken CSV/);
    await refuses('d.csv', 'text,label\n"a\nb",c\n,d\n', /line 4: the column "text" is empty/);
    await refuses('e.jsonl', new Uint8Array([0x7b, 0xff, 0xfe]), /expected text in UTF-8/);
    await refuses('e.jsonl.gz', 'not compressed', /expected one JSON object, found invalid JSON/);
    await refuses('f.jsonl.gz', gzipSync(good.repeat(100)).subarray(0, 40), /gzip stream is broken/);
  });

  it('[ROW-5] never quotes the text of a row', async () => {
    await assert.rejects(
      read('g.jsonl', '{"text":"secret diagnosis","label":{}}'),
      (thrown: Error) => !/secret/.test(thrown.message),
    );
    await assert.rejects(
      read('g.csv', 'text,label\n"secret" diagnosis,x\n'),
      (thrown: Error) => !/secret/.test(thrown.message),
    );
  });

  it('[ROW-6] tells a file that is not there, or has an unknown ending, as a mistake of the user', async () => {
    await assert.rejects(readRows(join(folder, 'none.jsonl')), UsageError);
    await assert.rejects(readRows(join(folder, 'none.csv')), UsageError);
    await assert.rejects(read('rows.xlsx', 'x'), UsageError);
  });
});
