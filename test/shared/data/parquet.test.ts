import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { FormatError } from '../../../shared/core/errors.ts';
import { type RecordOptions, readRecords } from '../../../shared/data/records.node.ts';
import { collectFaults } from '../../../shared/data/row-faults.ts';

/** What `datasets` writes beside the schema, cut to what a table of classes, tags and turns has. */
const features = {
  info: {
    features: {
      text: { dtype: 'string', _type: 'Value' },
      label: { names: ['neg', 'pos'], _type: 'ClassLabel' },
      tags: { feature: { names: ['O', 'B-PER'], _type: 'ClassLabel' }, length: -1, _type: 'Sequence' },
      old: [{ names: ['no', 'yes'], _type: 'ClassLabel' }],
      turn: {
        role: { names: ['user', 'assistant'], _type: 'ClassLabel' },
        content: { dtype: 'string', _type: 'Value' },
      },
    },
  },
};

const list = (name: string, element: SchemaElement): SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  element,
];

describe('Parquet records', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-parquet-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const read = async (content: ArrayBuffer | Uint8Array, options?: RecordOptions) => {
    const path = join(folder, 'a.parquet');
    writeFileSync(path, new Uint8Array(content));
    const records = [];
    for await (const { value, line } of readRecords(path, options)) records.push([line, value]);
    return records;
  };
  const nested = (columnData: ColumnSource[], schema: SchemaElement[], codec?: 'UNCOMPRESSED') =>
    parquetWriteBuffer({
      columnData,
      schema: [{ name: 'schema', num_children: columnData.length }, ...schema],
      kvMetadata: [{ key: 'huggingface', value: JSON.stringify(features) }],
      rowGroupSize: 2,
      ...(codec === undefined ? {} : { codec }),
    });

  it('[PQT-1] reads texts, numbers, truth values and nulls over several row groups, rows counted from 1', async () => {
    const columnData: ColumnSource[] = [
      { name: 'text', data: ['größe 🙂', '', null, 'd', 'e'], type: 'STRING' },
      { name: 'count', data: [1n, -2n, null, 2n ** 53n - 1n, 5n], type: 'INT64' },
      { name: 'score', data: [0.5, 1, null, -2, 3], type: 'DOUBLE' },
      { name: 'ok', data: [true, false, null, true, true], type: 'BOOLEAN' },
    ];
    const expected = [
      [1, { text: 'größe 🙂', count: 1, score: 0.5, ok: true }],
      [2, { text: '', count: -2, score: 1, ok: false }],
      [3, { text: null, count: null, score: null, ok: null }],
      [4, { text: 'd', count: 2 ** 53 - 1, score: -2, ok: true }],
      [5, { text: 'e', count: 5, score: 3, ok: true }],
    ];
    for (const rowGroupSize of [2, 100]) {
      assert.deepEqual(await read(parquetWriteBuffer({ columnData, rowGroupSize })), expected);
    }
    const compressors = {
      GZIP: (bytes: Uint8Array) => gzipSync(bytes),
      ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes),
    };
    for (const codec of ['GZIP', 'ZSTD', 'UNCOMPRESSED'] as const) {
      assert.deepEqual(await read(parquetWriteBuffer({ columnData, codec, compressors })), expected, codec);
    }
  });

  it('[PQT-2] keeps lists and structures, and names classes where the file does; -1 is no class', async () => {
    const int: SchemaElement = { name: 'element', type: 'INT64', repetition_type: 'OPTIONAL' };
    const schema: SchemaElement[] = [
      { name: 'label', type: 'INT64', repetition_type: 'OPTIONAL' },
      ...list('tags', int),
      ...list('old', int),
      ...list('tokens', { name: 'element', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }),
      { name: 'turn', repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'role', type: 'INT64', repetition_type: 'OPTIONAL' },
      { name: 'content', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    ];
    const columnData: ColumnSource[] = [
      { name: 'label', data: [1n, 0n, -1n, null] },
      { name: 'tags', data: [[0n, 1n], [], null, [1n]] },
      { name: 'old', data: [[1n], [0n], [], [1n, 1n]] },
      { name: 'tokens', data: [['a', 'b'], [], ['c'], ['d', null]] },
      {
        name: 'turn',
        data: [{ role: 0n, content: 'hi' }, { role: 1n, content: null }, null, { role: null, content: 'x' }],
      },
    ];
    assert.deepEqual(await read(nested(columnData, schema)), [
      [
        1,
        { label: 'pos', tags: ['O', 'B-PER'], old: ['yes'], tokens: ['a', 'b'], turn: { role: 'user', content: 'hi' } },
      ],
      [2, { label: 'neg', tags: [], old: ['no'], tokens: [], turn: { role: 'assistant', content: null } }],
      [3, { label: null, tags: null, old: [], tokens: ['c'], turn: null }],
      [
        4,
        { label: null, tags: ['B-PER'], old: ['yes', 'yes'], tokens: ['d', null], turn: { role: null, content: 'x' } },
      ],
    ]);
  });

  it('[PQT-3] gives dates and times in ISO 8601', async () => {
    const at = new Date('2024-02-29T12:34:56.789Z');
    const schema: SchemaElement[] = [
      { name: 'day', type: 'INT32', converted_type: 'DATE', repetition_type: 'OPTIONAL' },
      { name: 'at', type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'OPTIONAL' },
    ];
    const columnData: ColumnSource[] = [
      { name: 'day', data: [new Date('2024-02-29'), null] },
      { name: 'at', data: [at, null] },
    ];
    assert.deepEqual(await read(nested(columnData, schema)), [
      [1, { day: '2024-02-29', at: '2024-02-29T12:34:56.789Z' }],
      [2, { day: null, at: null }],
    ]);
  });

  it('[PQT-4] reports rows that cannot be kept with their number and reason, and reads the others', async () => {
    const schema: SchemaElement[] = [
      { name: 'id', type: 'INT64', repetition_type: 'OPTIONAL' },
      { name: 'label', type: 'INT64', repetition_type: 'OPTIONAL' },
      { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    ];
    const columnData: ColumnSource[] = [
      { name: 'id', data: [1n, 2n ** 60n, 3n, 4n] },
      { name: 'label', data: [0n, 0n, 7n, 1n] },
      { name: 'text', data: ['good', 'a', 'b', 'spoiled'] },
    ];
    const bytes = Buffer.from(nested(columnData, schema, 'UNCOMPRESSED'));
    for (let at = bytes.indexOf('spoiled'); at >= 0; at = bytes.indexOf('spoiled', at + 1)) bytes[at] = 0xff;
    const faults = collectFaults();
    assert.deepEqual(await read(bytes, { faults }), [[1, { id: 1, label: 'neg', text: 'good' }]]);
    assert.deepEqual(
      faults.first.map(({ line, reason }) => `${line}: ${reason}`),
      [
        '2: a whole number is beyond 2^53, where numbers are no longer exact in "id"',
        '3: a class is 7, the file names 2 classes in "label"',
        '4: a text is not UTF-8 in "text"',
      ],
    );
    await assert.rejects(read(bytes), /a\.parquet, row 2: a whole number/);
    assert.equal((await read(bytes, { columns: ['label'], faults: collectFaults() })).length, 3);
  });

  it('[PQT-5] reads the asked columns only, and refuses one that is not there', async () => {
    const columnData: ColumnSource[] = [
      { name: 'text', data: ['a'], type: 'STRING' },
      { name: 'label', data: ['b'], type: 'STRING' },
    ];
    const bytes = parquetWriteBuffer({ columnData });
    assert.deepEqual(await read(bytes, { columns: ['label'] }), [[1, { label: 'b' }]]);
    await assert.rejects(
      read(bytes, { columns: ['intent'] }),
      /the column "intent" is missing; there are: "text", "label"/,
    );
  });

  it('[PQT-6] reads a large row group in slices with the same rows, lists that cross pages among them', async () => {
    const count = 3000;
    const texts = Array.from({ length: count }, (_, index) => `${index} `.repeat(1500));
    const tokens = Array.from({ length: count }, (_, index) =>
      Array.from({ length: index % 9 }, (__, at) => index + at),
    );
    const schema: SchemaElement[] = [
      { name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
      ...list('tokens', { name: 'element', type: 'INT32', repetition_type: 'OPTIONAL' }),
    ];
    const bytes = parquetWriteBuffer({
      columnData: [
        { name: 'text', data: texts },
        { name: 'tokens', data: tokens },
      ],
      schema: [{ name: 'schema', num_children: 2 }, ...schema],
      rowGroupSize: count,
      pageSize: 4096,
    });
    const records = await read(bytes);
    assert.equal(records.length, count);
    for (const [index, [line, value]] of records.entries()) {
      assert.equal(line, index + 1);
      assert.deepEqual(value, { text: texts[index], tokens: tokens[index] });
    }
  });

  it('[PQT-7] a file that is no Parquet, or is cut, is broken as a whole', async () => {
    const bytes = new Uint8Array(
      parquetWriteBuffer({ columnData: [{ name: 'text', data: ['a', 'b'], type: 'STRING' }] }),
    );
    for (const broken of [Buffer.from('{"text":"a"}\n'), bytes.subarray(0, bytes.length - 9), new Uint8Array(0)]) {
      await assert.rejects(read(broken), (thrown: unknown) => {
        assert.ok(thrown instanceof FormatError, String(thrown));
        assert.equal(thrown.code, 'bad-parquet');
        return true;
      });
    }
  });

  it('[PQT-8] reads what the library datasets 5.0.1 writes (with pyarrow 25.0.1) as that library does, with names for classes', async () => {
    const vectors = join(import.meta.dirname, '..', '..', 'vectors');
    const expected = JSON.parse(readFileSync(join(vectors, 'datasets.json'), 'utf8')) as Record<string, unknown>[];
    const records = [];
    for await (const { value } of readRecords(join(vectors, 'datasets.parquet'))) {
      assert.ok(value.raw instanceof Uint8Array, 'bytes that are no text stay bytes');
      records.push({ ...value, raw: [...value.raw] });
    }
    assert.deepEqual(records, expected);
  });
});
