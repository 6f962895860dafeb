import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FormatError, UsageError } from '../../../shared/core/errors.ts';
import { type RecordOptions, readRecords } from '../../../shared/data/records.node.ts';
import { collectFaults } from '../../../shared/data/row-faults.ts';

describe('readRecords', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-records-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = (name: string, content: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const all = async (path: string, options?: RecordOptions) => {
    const records = [];
    for await (const { value, line } of readRecords(path, options)) records.push([line, value]);
    return records;
  };
  const read = (name: string, content: string | Uint8Array, options?: RecordOptions) =>
    all(write(name, content), options);
  /** What is read, and `line: reason` of what is skipped. */
  const skipping = async (name: string, content: string | Uint8Array) => {
    const faults = collectFaults();
    const records = await read(name, content, { faults });
    return {
      lines: records.map(([line]) => line),
      faults: faults.first.map(({ line, reason }) => `${line}: ${reason}`),
    };
  };

  it('[REC-1] reads every text format, plain or gzip whatever the name says, with a byte order mark and Windows line ends', async () => {
    const records = [
      [1, { text: 'größer 🙂', label: 3 }],
      [3, { text: 'a,"b"\n\tc', label: null }],
    ];
    const jsonl = '{"text":"größer 🙂","label":3}\r\n\r\n{"text":"a,\\"b\\"\\n\\tc","label":null}';
    for (const name of ['a.jsonl', 'a.ndjson', 'a.json', 'a.jsonl.gz', 'A.JSONL']) {
      for (const content of [jsonl, `\uFEFF${jsonl}\r\n`, gzipSync(`\uFEFF${jsonl}`)]) {
        assert.deepEqual(await read(name, content), records, name);
      }
    }
    const texts = [
      [2, { text: 'größer 🙂', label: '3' }],
      [4, { text: 'a,"b"\n\tc', label: '' }],
    ];
    const csv = '\uFEFFtext,label\r\ngrößer 🙂,3\r\n\r\n"a,""b""\n\tc",';
    assert.deepEqual(await read('a.csv', csv), texts);
    assert.deepEqual(await read('a.csv', gzipSync(csv)), texts);
    const tsv = 'text\tlabel\ngrößer 🙂\t3\n\n"a,""b""\n\tc"\t';
    assert.deepEqual(await read('a.tsv.gz', tsv), texts);
  });

  it('[REC-2] reads a JSON list, and one under "data", with the line of each object', async () => {
    const list = '[\n {"text":"a [x], {y}","n":{"data":[1]}},\n\n {"text":"\\"],"} ]';
    const expected = [
      [2, { text: 'a [x], {y}', n: { data: [1] } }],
      [4, { text: '"],' }],
    ];
    assert.deepEqual(await read('b.json', list), expected);
    assert.deepEqual(
      await read('b.json.gz', gzipSync(`{"version":{"data":[9]},"data":${list},"more":[{}]}`)),
      expected,
    );
    assert.deepEqual(await read('b.json', '{"text":"one line is a record of JSON Lines"}\n{"text":"b"}'), [
      [1, { text: 'one line is a record of JSON Lines' }],
      [2, { text: 'b' }],
    ]);
    assert.deepEqual(await read('b.json', ' [ ] '), []);
    for (const [content, pattern] of [
      ['{"rows":[{}]}', /line 1: the object has no list under the key "data"; expected a list of objects/],
      ['"text"', /expected a list or an object/],
      ['[{"a":1},\n{"a":2}', /line 2: the document ends before its list does/],
      ['', /the file is empty/],
    ] as const) {
      await assert.rejects(read('c.json', content), pattern);
    }
  });

  it('[REC-3] skips bad rows where they are collected: file, line and reason of the first, and how many', async () => {
    const long = `{"text":"${'x'.repeat(8_000_000)}"}`;
    const jsonl = Buffer.concat([
      Buffer.from(`{"a":1}\n{"a":\n[1]\n${long}\n{"a":"`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}\n{"a":2}\n7'),
    ]);
    assert.deepEqual(await skipping('d.jsonl', jsonl), {
      lines: [1, 6],
      faults: [
        '2: expected one JSON object, found invalid JSON',
        '3: expected a JSON object, found a list',
        '4: the line is longer than 8000000 characters',
        '5: expected text in UTF-8, found bytes that are not',
        '7: expected a JSON object, found a number',
      ],
    });
    assert.deepEqual(await skipping('d.json', `[{"a":1},\n7,\n{"a" 3},\n${long},,\n{"a":2},\n]`), {
      lines: [1, 5],
      faults: [
        '2: expected a JSON object, found a number',
        '3: expected one JSON object, found invalid JSON',
        '4: the object is longer than 8000000 characters',
        '4: expected one JSON object, found invalid JSON',
        '6: expected one JSON object, found invalid JSON',
      ],
    });
    assert.deepEqual(await skipping('d.csv', 'a,b\n1,2\n3\n4,5\n\n6,7,8\n9,"x\ny"\n10,11\n'), {
      lines: [2, 4, 7, 9],
      faults: [
        '3: broken CSV: the record has more or fewer fields than the header',
        '6: broken CSV: the record has more or fewer fields than the header',
      ],
    });
    for (const content of ['a,b\n1,"2" x\n3,4\n', 'a,b\n1,2\n3,"4\n5,6\n']) {
      await assert.rejects(skipping('d.csv', content), /line [23]: broken CSV: a quoted field/);
    }
    assert.deepEqual((await skipping('d.csv', 'a,b\n1,2 "x" y\n3,4\n')).lines, [3]);
  });

  it('[REC-4] stops at the first bad row when nobody collects them, and at too many when somebody does', async () => {
    const bad = '{}\nx\ny\nz\n';
    await assert.rejects(read('e.jsonl', bad), (thrown: unknown) => {
      assert.ok(thrown instanceof FormatError);
      assert.match(thrown.message, /e\.jsonl, line 2: expected one JSON object/);
      return true;
    });
    const faults = collectFaults({ keptMax: 1, countMax: 2 });
    await assert.rejects(read('e.jsonl', bad, { faults }), { code: 'too-many-bad-rows' });
    assert.deepEqual([faults.count, faults.first.length], [3, 1]);
  });

  it('[REC-5] never quotes what a row says', async () => {
    for (const [name, content] of [
      ['f.csv', 'text,label\n"secret" diagnosis,x\n'],
      ['f.csv', 'text,label\nsecret "diagnosis",x\n'],
      ['f.csv', 'text,label\n"secret,x\n'],
      ['f.csv', 'text,label\nsecret\n'],
      ['f.jsonl', '{"text":"secret'],
      ['f.json', '[{"text":"secret'],
    ] as const) {
      await assert.rejects(read(name, content), (thrown: Error) => {
        assert.ok(thrown instanceof FormatError, String(thrown));
        return !/secret|diagnosis/.test(thrown.message);
      });
    }
  });

  it('[REC-6] says on which line text is not UTF-8, also where a character lies across two chunks', async () => {
    const rows = 'text,label\n'.concat('größe 🙂,x\n'.repeat(40_000));
    assert.equal((await read('g.csv', rows)).length, 40_000);
    const broken = Buffer.concat([Buffer.from(rows), Buffer.from([0xe4, 0x2c, 0x78, 0x0a]), Buffer.from(rows)]);
    await assert.rejects(read('g.csv', broken), /g\.csv, line 40002: expected text in UTF-8/);
    await assert.rejects(read('g.csv', Buffer.from([0x61, 0x0a, 0xc3])), /line 2: expected text in UTF-8/);
  });

  it('[REC-7] names a broken gzip stream, a missing file and an unknown ending', async () => {
    const gzip = gzipSync('{"a":1}\n'.repeat(1000));
    await assert.rejects(read('h.jsonl.gz', gzip.subarray(0, 40)), { code: 'bad-gzip' });
    await assert.rejects(all(join(folder, 'none.jsonl')), UsageError);
    await assert.rejects(read('h.xlsx', 'x'), UsageError);
    await assert.rejects(read('h.parquet.gz', 'x'), UsageError);
  });

  it('[REC-8] refuses a table without the columns that are asked for, and one that names a column twice', async () => {
    await assert.rejects(
      read('i.csv', 'text,intent\n', { columns: ['text', 'label'] }),
      /line 1: the column "label" is missing; there are: "text", "intent"/,
    );
    await assert.rejects(read('i.csv', 'a,b,a\n1,2,3\n'), /line 1: the column "a" is there twice/);
  });

  it('[REC-9] reads a folder or a pattern of shards in the order of their names', async () => {
    const shards = join(folder, 'shards');
    mkdirSync(join(shards, 'nested'), { recursive: true });
    for (const [name, value] of [
      ['train-00001-of-00003.jsonl', 1],
      ['train-00000-of-00003.jsonl', 0],
      ['train-00002-of-00003.jsonl.gz', 2],
    ] as const) {
      write(`shards/${name}`, `{"a":${value}}`);
    }
    write('shards/dataset_info.json', '{}');
    write('shards/README.md', '');
    const values = async (path: string) => (await all(path)).map(([, value]) => (value as { a: number }).a);
    assert.deepEqual(await values(shards), [0, 1, 2]);
    assert.deepEqual(await values(join(shards, 'train-*.jsonl')), [0, 1]);
    await assert.rejects(values(join(shards, 'valid-*')), { code: 'no-files' });
    await assert.rejects(values(join(shards, 'nested')), { code: 'no-files' });
    write('shards/test-00000.jsonl', '{"a":9}');
    await assert.rejects(values(shards), { code: 'several-splits', message: /train, test|test, train/ });
    write('shards/more.csv', 'a\n1\n');
    await assert.rejects(values(shards), { code: 'mixed-formats' });
  });

  it('[REC-10] keeps no more of a file than it needs: stopping early closes it', async () => {
    const path = write('j.jsonl', '{"a":1}\n'.repeat(200_000));
    for await (const { line } of readRecords(path)) if (line === 3) break;
    rmSync(path);
  });
});
