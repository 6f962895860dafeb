import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { streamInProcess, writeRows } from './streaming.ts';

describe('data larger than memory', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-streaming-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[STR-1] goes through every example in every epoch, counts cut texts, in a heap that cannot hold the examples', async () => {
    const rows = await writeRows(folder, 8_000_000);
    const outcome = await streamInProcess(rows.path, 'spool', 16);
    assert.ok('count' in outcome, JSON.stringify(outcome).slice(0, 2000));
    const { count, sums, firstIds, truncatedCount, fileBytes } = outcome;
    assert.deepEqual([count, truncatedCount], [rows.rowCount, rows.truncatedCount]);
    assert.deepEqual(sums, [rows.sum, rows.sum]);
    assert.notEqual(firstIds[0], firstIds[1], 'epochs are shuffled differently');
    assert.ok(fileBytes > 0, 'the examples lie in a file');
    const held = await streamInProcess(rows.path, 'memory', 16);
    assert.ok('failure' in held && /heap out of memory/.test(held.failure), 'the same examples do not fit the heap');
  });
});
