import { strict as assert } from 'node:assert';
import {
  chosenRate,
  type MethodCell,
  type MethodPlan,
  type MethodResult,
  methodKey,
  searchCells,
  testCells,
} from '../../../simulations/methods/cells.ts';
import { parseMethodsOptions } from '../../../simulations/methods/compare-methods.ts';
import { contenders } from '../../../simulations/methods/contenders.ts';

const plan: MethodPlan = {
  set: 'clinc150',
  settings: { rows: 10, epochs: 1, lengthMax: 8, batchSize: 4 },
  validationRows: 5,
  testRows: 6,
  passedOver: 7,
};
const lora = contenders.filter(({ name }) => name === 'lora');

function result(cell: MethodCell, accuracy: number): MethodResult {
  const sizes = { parameters: 1, headParameters: 1, updateBytes: 8, epochSeconds: 1, trainRows: 10, testRows: 5 };
  return { cell, accuracy, macroF1: accuracy, loss: 1, diverged: false, ...sizes };
}

/** Searches with accuracies by rate until nothing is wanted. */
function search(accuracyAt: (rate: number) => number): MethodResult[] {
  const results: MethodResult[] = [];
  for (;;) {
    const wanted = searchCells(lora, plan, results);
    if (wanted.length === 0) return results;
    results.push(...wanted.map((cell) => result(cell, accuracyAt(cell.settings.learningRate!))));
  }
}

describe('searchCells', () => {
  it('[MCL-1] goes on until the best rate lies between two worse ones, on validation rows with a seed that is not reported', () => {
    const results = search((rate) => 1 - Math.abs(Math.log10(rate) + 1));
    assert.equal(chosenRate(lora[0]!, plan, results), 0.1);
    assert.deepEqual(
      results.map(({ cell }) => cell.settings.learningRate).sort((left, right) => left! - right!),
      [0.003, 0.01, 0.03, 0.1, 0.3],
    );
    assert.ok(results.every(({ cell }) => cell.split === 'validation' && cell.seed === 0));
  });

  it('[MCL-2] ends at an end of the grid, takes the lower of two rates that are alike, and tries nothing for naive Bayes', () => {
    assert.equal(
      chosenRate(
        lora[0]!,
        plan,
        search((rate) => rate),
      ),
      1,
    );
    assert.equal(
      chosenRate(
        lora[0]!,
        plan,
        search((rate) => (rate > 0.005 && rate < 0.05 ? 0.5 : 0)),
      ),
      0.01,
    );
    const bayes = contenders.filter(({ name }) => name === 'naive-bayes');
    assert.deepEqual(searchCells(bayes, plan, []), []);
  });
});

describe('testCells', () => {
  it('[MCL-3] has every method once for every seed, whole seeds first, at the rate that was found, on rows not looked at', () => {
    const cells = testCells(
      contenders,
      [1, 2],
      plan,
      search((rate) => -rate),
    );
    assert.equal(new Set(cells.map(methodKey)).size, 2 * contenders.length);
    assert.deepEqual([cells[0]!.seed, cells.at(-1)!.seed], [1, 2]);
    assert.ok(cells.every(({ split, settings }) => split === 'test' && settings.passedOver === 7));
    assert.equal(cells.find(({ method }) => method === 'lora')?.settings.learningRate, 1e-4);
  });
});

describe('methodKey', () => {
  it('[MCL-4] differs where a setting differs that decides the result', () => {
    const [cell] = testCells(lora, [1], plan, []);
    const keys = Object.keys(cell!.settings).map((name) =>
      methodKey({ ...cell!, settings: { ...cell!.settings, [name]: 0.123 } }),
    );
    assert.equal(new Set([...keys, methodKey(cell!)]).size, keys.length + 1);
  });
});

describe('parseMethodsOptions', () => {
  it('[MCL-5] has defaults, and refuses unknown names, flags and numbers', () => {
    const preset = parseMethodsOptions([], { TRIBUTARY_DATA: '/data' });
    assert.deepEqual([preset.plan.set, preset.seeds, preset.data], ['clinc150', [1, 2, 3], '/data']);
    assert.equal(preset.methods.length, contenders.length);
    const asked = parseMethodsOptions(['--methods', 'lora,full', '--rows', '9', '--set', 'medquad'], {});
    assert.deepEqual([asked.methods.map(({ name }) => name), asked.plan.settings.rows], [['full', 'lora'], 9]);
    assert.throws(() => parseMethodsOptions(['--methods', 'lola'], {}), /expected some of .*lora.*found "lola"/);
    assert.throws(() => parseMethodsOptions(['--seed', '1'], {}), { code: 'unknown-flag' });
    assert.throws(() => parseMethodsOptions(['--epochs', '0'], {}), /--epochs: expected a whole number of at least 1/);
  });
});
