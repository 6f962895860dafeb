import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRecords } from '../../../shared/data/records.node.ts';
import { collectFaults } from '../../../shared/data/row-faults.ts';
import { splitRows, splitSides } from '../../../shared/data/split.ts';
import { type SplitFileOptions, splitFile } from '../../../shared/data/split-file.node.ts';

describe('splitFile', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-split-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const rows = Array.from({ length: 500 }, (_, index) => {
    const phrase = index % 10 === 3 ? `phrase ${index % 9}` : `visit ${index}`;
    const text = index % 25 === 0 ? 'no complaints' : phrase;
    return { text, label: 'a', patient: `p${index % 40}`, extra: [index] };
  });
  const split = (
    options: Partial<SplitFileOptions> = {},
    content = rows.map((row) => JSON.stringify(row)).join('\n'),
  ) => {
    writeFileSync(join(folder, 'rows.jsonl'), content);
    return splitFile({
      path: join(folder, 'rows.jsonl'),
      folder: join(folder, 'parts'),
      settings: { validation: 0.1, test: 0.2, seed: 1 },
      signal: new AbortController().signal,
      ...options,
    });
  };
  const part = async (side: string) => {
    const found: Readonly<Record<string, unknown>>[] = [];
    for await (const { value } of readRecords(join(folder, 'parts', `${side}.jsonl.gz`))) found.push(value);
    return found;
  };

  it('[SPF-1] writes every row to the side it has in memory, as it was', async () => {
    const counts = await split();
    const inMemory = splitRows(
      rows.map((row, index) => ({ ...row, line: index + 1 })),
      { validation: 0.1, test: 0.2, seed: 1 },
    );
    for (const side of splitSides) {
      assert.deepEqual(
        await part(side),
        inMemory[side].map(({ line }) => rows[line - 1]),
        side,
      );
      assert.equal(counts[side], inMemory[side].length);
    }
    assert.equal(counts.leftOut, 0);
  });

  it('[SPF-2] with groups: nobody on two sides, a text of several groups on one', async () => {
    const counts = await split({ groupColumn: 'patient' });
    const parts = await Promise.all(splitSides.map(part));
    const patients = parts.map((found) => new Set(found.map(({ patient }) => patient)));
    assert.equal(
      new Set(patients.flatMap((side) => [...side])).size,
      patients.reduce((sum, { size }) => sum + size, 0),
    );
    assert.deepEqual(
      parts.map((found) => found.some(({ text }) => text === 'no complaints')),
      [true, false, false],
    );
    assert.ok(counts.leftOut > 0);
    const inMemory = splitRows(
      rows.map((row, index) => ({ ...row, group: row.patient, line: index + 1 })),
      { validation: 0.1, test: 0.2, seed: 1, byGroup: true },
    );
    assert.deepEqual(
      parts,
      splitSides.map((side) => inMemory[side].map(({ line }) => rows[line - 1])),
    );
    assert.equal(
      parts.reduce((sum, { length }) => sum + length, counts.leftOut),
      500,
    );
  });

  it('[SPF-7] leaves no part empty that has a share, however few the groups are', async () => {
    for (let seed = 0; seed < 10; seed++) {
      const few = rows.map((row, index) => JSON.stringify({ ...row, patient: `p${index % 3}` })).join('\n');
      const settings = { validation: 0.1, test: 0.1, seed };
      const { train, validation, test } = await split({ groupColumn: 'patient', settings }, few);
      assert.ok(train > 0 && validation > 0 && test > 0, `seed ${seed}: ${train} ${validation} ${test}`);
    }
  });

  it('[SPF-3] writes no part that has no share, and nothing at all when a row is bad', async () => {
    await split({ settings: { validation: 0.1, seed: 1 } });
    assert.deepEqual(readdirSync(join(folder, 'parts')).sort(), ['train.jsonl.gz', 'validation.jsonl.gz']);
    rmSync(join(folder, 'parts'), { recursive: true });
    for (const bad of ['{"text":7}', '{"label":"a"}', '{']) {
      await assert.rejects(split({}, `{"text":"a"}\n${bad}\n`), /rows\.jsonl, line 2: /);
      assert.ok(!existsSync(join(folder, 'parts')));
    }
  });

  it('[SPF-4] leaves bad rows out where they are collected, each noted once', async () => {
    const content = '{"text":"a","patient":1}\n{"text":"b"}\n{\n{"text":"c","patient":"x"}\n';
    const faults = collectFaults();
    const counts = await split({ groupColumn: 'patient', faults, settings: { seed: 1 } }, content);
    assert.deepEqual(counts, { train: 2, validation: 0, test: 0, leftOut: 0 });
    assert.deepEqual(
      faults.first.map(({ line }) => line),
      [2, 3],
    );
    assert.match(faults.first[0]!.reason, /the column "patient" is missing; there are: "text"/);
  });

  it('[SPF-6] knows what rows of every task ask', async () => {
    const content = [
      { tokens: ['a', 'b'], tags: ['O', 'O'] },
      { prompt: 'a b', answer: '1' },
      {
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: '1' },
        ],
      },
      {
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: '2' },
        ],
      },
    ];
    await split({ settings: { test: 0.5, seed: 1 } }, content.map((row) => JSON.stringify(row)).join('\n'));
    const counts = (await Promise.all(['train', 'test'].map(part))).map(({ length }) => length);
    assert.deepEqual(counts, [2, 2], 'equal words and equal questions stay together');
  });

  it('[SPF-5] stops when it is told to', async () => {
    const reason = new Error('enough');
    await assert.rejects(split({ signal: AbortSignal.abort(reason) }), reason);
    assert.deepEqual(readdirSync(join(folder, 'parts')), []);
  });
});
