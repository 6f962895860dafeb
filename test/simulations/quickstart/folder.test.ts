/** The folder of a run: a new one is made, an earlier run's is emptied, and nobody else's files are touched. */
import { strict as assert } from 'node:assert';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRows } from '../../../shared/data/rows.node.ts';
import { rowForms } from '../../../shared/training/tasks/registry.ts';
import { openFolder, writeRows, writeSite } from '../../../simulations/quickstart/folder.ts';

describe('the folder of a run', () => {
  let parent = '';
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'tributary-folder-'));
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  it('[FOL-1] refuses a folder with files of others, and leaves them', () => {
    writeFileSync(join(parent, 'thesis.txt'), 'years of work');
    assert.throws(() => openFolder(parent), /holds files that are not of a quickstart/);
    assert.equal(readFileSync(join(parent, 'thesis.txt'), 'utf8'), 'years of work');
  });

  it('[FOL-2] empties the folder of an earlier run', () => {
    const folder = openFolder(join(parent, 'new', 'out'));
    mkdirSync(folder.coordinator('adapter'), { recursive: true });
    writeFileSync(folder.summary, '{}');
    const again = openFolder(folder.root);
    assert.ok(!existsSync(again.summary) && !existsSync(again.coordinator('adapter')));
  });

  it('[FOL-3] takes an empty folder', () => {
    assert.equal(openFolder(parent).root, parent);
  });

  it('[FOL-4] rows are read as they were written, whatever their text holds', async () => {
    const folder = openFolder(parent);
    const rows = ['quote " and \\', 'line\nbreak', '  blanks  ', 'Zürich 🏦'].map((text, index) => {
      return { text, label: 'a', group: 'north', line: index + 1 };
    });
    writeRows(folder.trainFile, rows, rowForms.classification);
    assert.deepEqual(await readRows(folder.trainFile, { text: 'text', label: 'label', group: 'client' }), rows);
  });

  it('[FOL-5] a site has its rows and its policy in files; nothing held out is no file', () => {
    const folder = openFolder(parent);
    const row = { text: 'x', label: 'a', line: 1 };
    const site = { name: 'north', train: [row], heldOut: [], ownTest: [] };
    writeSite(folder, site, rowForms.classification, { format: 'tributary-policy-1' });
    assert.deepEqual(JSON.parse(readFileSync(folder.site('north', 'policy.json'), 'utf8')), {
      format: 'tributary-policy-1',
    });
    assert.ok(existsSync(folder.site('north', 'train.jsonl')));
    assert.ok(!existsSync(folder.site('north', 'held-out.jsonl')));
  });
});
