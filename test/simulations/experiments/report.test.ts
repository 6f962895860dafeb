import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CellResult } from '../../../simulations/experiments/cells.ts';
import { cellKey, isPooled } from '../../../simulations/experiments/cells.ts';
import { compare, markdownOf, rowsOf, spreadOf, tuningMarkdownOf } from '../../../simulations/experiments/report.ts';
import { appendResult, readResults } from '../../../simulations/experiments/results-file.ts';
import { type Method, methods, sets } from '../../../simulations/experiments/settings.ts';

const dealing = sets.medquad.dealings[0]!.label;

function result(method: Method, seed: number, accuracy: number): CellResult {
  return {
    cell: {
      set: 'medquad',
      dealing: isPooled(method) ? null : dealing,
      seed,
      method,
      split: 'test',
      settings: {
        rows: 10,
        testRows: 10,
        passedOver: 0,
        clientCount: 9,
        rounds: 1,
        lengthMax: 8,
        batchSize: 4,
        learningRate: null,
      },
    },
    accuracy,
    macroF1: accuracy,
    loss: null,
    clients: [],
    trainRows: 10,
    testRows: 10,
    seconds: 1,
  };
}

const accuracies: Readonly<Record<Method, readonly number[]>> = {
  'naive-bayes': [0.9, 0.9],
  'federated-head': [0.5, 0.7],
  'local-adapter': [0.4, 0.4],
  'federated-adapter': [0.6, 0.68],
  'pooled-adapter': [0.7, 0.8],
};
const results = methods.flatMap((method) =>
  accuracies[method].map((accuracy, index) => result(method, index + 1, accuracy)),
);

describe('tuningMarkdownOf', () => {
  it('[EXP-18] has a row for every method of every set, a column for every rate, and the best in bold', () => {
    const tried = (method: Method, learningRate: number, accuracy: number): CellResult => {
      const one = result(method, 0, accuracy);
      return { ...one, cell: { ...one.cell, settings: { ...one.cell.settings, learningRate } } };
    };
    const markdown = tuningMarkdownOf([
      tried('federated-head', 0.1, 0.4),
      tried('federated-head', 1, 0.5),
      tried('local-adapter', 0.1, 0.3),
    ]);
    const lines = markdown.split('\n');
    assert.ok(lines.includes('| data | method | 0.1 | 1 |'));
    assert.ok(lines.includes('| medquad | federated-head | 40.0 | **50.0** |'));
    assert.ok(lines.includes('| medquad | local-adapter | **30.0** | – |'));
  });
});

describe('spreadOf', () => {
  it('[EXP-6] is the mean and the sample standard deviation', () => {
    assert.deepEqual(spreadOf([1, 2, 3]), { mean: 2, deviation: 1, count: 3 });
    assert.deepEqual(spreadOf([5]), { mean: 5, deviation: null, count: 1 });
  });
});

describe('compare', () => {
  it('[EXP-7] compares seed by seed and counts the seeds that win', () => {
    const [row] = rowsOf(results);
    const comparison = compare(row!, 'federated-adapter', 'federated-head')!;
    assert.ok(Math.abs(comparison.difference.mean - 0.04) < 1e-12);
    assert.equal(comparison.wins, 1);
    assert.equal(comparison.difference.count, 2);
    assert.equal(
      compare(rowsOf([result('federated-adapter', 1, 0.5)])[0]!, 'federated-adapter', 'federated-head'),
      null,
    );
  });
});

describe('markdownOf', () => {
  it('[EXP-8] prints wins and losses with the same words', () => {
    const text = markdownOf(results, ['Reproduce: x']);
    assert.match(
      text,
      /\| medquad \| 9, nine natural clients \| 90\.0 ± 0\.0 \| 60\.0 ± 14\.1 \| 40\.0 ± 0\.0 \| 64\.0 ± 5\.7 \|/,
    );
    assert.match(text, /wins against the federated head alone \(\+4\.0 ± 8\.5 points; better in 1 of 2 seeds\)/);
    assert.match(text, /loses against naive Bayes on pooled rows \(-26\.0 ± 5\.7 points; better in 0 of 2 seeds\)/);
    assert.match(text, /Reproduce: x\n$/);
  });
});

describe('readResults', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-results-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[EXP-9] gives back what was appended, and the last of equal cells', () => {
    const path = join(folder, 'a.jsonl');
    assert.equal(readResults<CellResult>(path, cellKey).size, 0);
    for (const one of [...results, result('naive-bayes', 1, 0.1)]) appendResult(path, one);
    const read = readResults<CellResult>(path, cellKey);
    assert.equal(read.size, results.length);
    assert.equal(read.get(cellKey(result('naive-bayes', 1, 0).cell))!.accuracy, 0.1);
  });

  it('[EXP-10] goes on after an interruption in the middle of a line, and refuses any other damage', () => {
    const path = join(folder, 'b.jsonl');
    writeFileSync(path, `${JSON.stringify(results[0])}\n{"cell":{"set":"med`);
    assert.equal(readResults<CellResult>(path, cellKey).size, 1);
    writeFileSync(join(folder, 'c.jsonl'), `{"cell":\n${JSON.stringify(results[0])}\n`);
    assert.throws(() => readResults<CellResult>(join(folder, 'c.jsonl'), cellKey), /c\.jsonl, line 1/);
  });
});
