import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { streamInProcess, writeRows } from './streaming.ts';

describe('data much larger than memory', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-streaming-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[STR-2] 200 MB of rows in a heap of 64 MiB: every example in every epoch, resident memory grows by less than the file', async () => {
    const rows = await writeRows(folder, 200_000_000);
    const outcome = await streamInProcess(rows.path, 'spool', 64);
    assert.ok('count' in outcome, JSON.stringify(outcome).slice(0, 2000));
    assert.deepEqual(outcome.sums, [rows.sum, rows.sum]);
    assert.deepEqual([outcome.count, outcome.truncatedCount], [rows.rowCount, rows.truncatedCount]);
    assert.ok(outcome.grownBytes < 200_000_000, `resident memory grew by ${outcome.grownBytes} bytes`);
    const held = await streamInProcess(rows.path, 'memory', 64);
    assert.ok('failure' in held && /heap out of memory/.test(held.failure), 'the same examples do not fit the heap');
  });
});
