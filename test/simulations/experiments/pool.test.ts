import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Cell, type CellResult, cellKey, cellsOf } from '../../../simulations/experiments/cells.ts';
import { runCells } from '../../../simulations/experiments/pool.ts';

describe('runCells', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-pool-'));
    mkdirSync(join(folder, 'banking77'));
    const rows = ['{"text":"lost card","label":"card"}', '{"text":"new loan","label":"loan"}'].join('\n');
    for (const part of ['train', 'test']) writeFileSync(join(folder, 'banking77', `${part}.jsonl.gz`), gzipSync(rows));
  });
  after(() => rmSync(folder, { recursive: true }));

  const cells: readonly Cell[] = cellsOf({ names: ['banking77'], seeds: [1, 2, 3], override: {} })
    .filter(({ method }) => method === 'naive-bayes')
    .map((cell) => ({ ...cell, settings: { ...cell.settings, passedOver: 0 } }));

  const own = {
    worker: new URL('../../../simulations/experiments/worker.ts', import.meta.url),
    nameOf: cellKey,
    onProgress: () => {},
  };

  it('[EXP-15] computes every cell once in threads, and they end', async () => {
    const results: CellResult[] = [];
    await runCells<Cell, CellResult>({
      ...own,
      cells,
      folder,
      workerCount: 2,
      onResult: (result) => void results.push(result),
    });
    assert.deepEqual(
      results.map(({ cell }) => cell.seed).sort((left, right) => left - right),
      [1, 2, 3],
    );
    assert.ok(results.every(({ accuracy, trainRows }) => accuracy === 1 && trainRows === 2));
  });

  it('[EXP-16] ends with the cell and the reason when one fails', async () => {
    const options = { ...own, cells, folder: join(folder, 'none'), workerCount: 2, onResult: () => {} };
    await assert.rejects(runCells(options), (thrown: Error) => {
      assert.match(thrown.message, /banking77.*naive-bayes.*failed: .*train\.jsonl\.gz/);
      return true;
    });
  });
});
