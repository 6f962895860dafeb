import { strict as assert } from 'node:assert';
import { cellKey, cellsOf, tuningCells } from '../../../simulations/experiments/cells.ts';
import { parseOptions } from '../../../simulations/experiments/real-data.ts';
import { setNames, sets } from '../../../simulations/experiments/settings.ts';

describe('cellsOf', () => {
  it('[EXP-1] has every method for every dealing and seed once, pooled methods once per set and seed, whole seeds first, bounds last', () => {
    const cells = cellsOf({ names: setNames, seeds: [1, 2, 3], override: {} });
    const dealings = setNames.reduce((sum, name) => sum + sets[name].dealings.length, 0);
    assert.equal(cells.length, 3 * (2 * setNames.length + 3 * dealings));
    assert.equal(new Set(cells.map(cellKey)).size, cells.length);
    const bounds = cells.slice(-3 * setNames.length);
    assert.ok(bounds.every(({ method }) => method === 'pooled-adapter'));
    const seeds = cells.slice(0, -3 * setNames.length).map(({ seed }) => seed);
    assert.deepEqual(
      seeds,
      seeds.toSorted((left, right) => left - right),
    );
    assert.ok(cells.every(({ split }) => split === 'test'));
  });

  it('[EXP-2] deals banking77 and clinc150 with skewed labels and evenly, medquad to its nine owners', () => {
    const kinds = setNames.map((name) => sets[name].dealings.map(({ partition }) => partition.kind));
    assert.deepEqual(kinds, [['dirichlet', 'iid'], ['dirichlet', 'iid'], ['natural']]);
    assert.equal(sets.medquad.clientCount, 9);
  });
});

describe('cellKey', () => {
  it('[EXP-14] differs where a setting differs that decides the result', () => {
    const [cell] = cellsOf({ names: ['medquad'], seeds: [1], override: {} });
    const keys = Object.keys(cell!.settings).map((name) =>
      cellKey({ ...cell!, settings: { ...cell!.settings, [name]: 0.123 } }),
    );
    assert.equal(new Set([...keys, cellKey(cell!)]).size, keys.length + 1);
  });
});

describe('tuningCells', () => {
  it('[EXP-3] never looks at the test split or at a seed that is reported', () => {
    const cells = tuningCells(setNames, {});
    assert.ok(cells.length > 0);
    assert.ok(cells.every(({ split, seed }) => split === 'validation' && seed === 0));
  });
});

describe('parseOptions', () => {
  it('[EXP-4] has defaults, takes the data folder from the environment, and overrides rows and rounds', () => {
    const preset = parseOptions([], { TRIBUTARY_DATA: '/data' });
    assert.deepEqual(
      [preset.data, preset.sets, preset.seeds, preset.override],
      ['/data', [...setNames], [1, 2, 3], {}],
    );
    const asked = parseOptions(
      ['--data', '/mine', '--sets', 'medquad', '--seeds', '1', '--rounds', '2', '--rows', '9'],
      {
        TRIBUTARY_DATA: '/data',
      },
    );
    assert.deepEqual([asked.data, asked.sets, asked.seeds], ['/mine', ['medquad'], [1]]);
    assert.deepEqual(asked.override, { rounds: 2, rows: 9 });
    const again = parseOptions(['--learning-rate', '0.003', '--pass-over', '2000'], {});
    assert.deepEqual(again.override, { learningRate: 0.003, passedOver: 2000 });
    const cells = cellsOf({ names: ['medquad'], seeds: [1], override: again.override });
    assert.ok(
      cells.every(({ method, settings }) => settings.learningRate === (method === 'naive-bayes' ? null : 0.003)),
    );
    assert.ok(cells.every(({ settings }) => settings.passedOver === 2000));
    assert.throws(() => parseOptions(['--learning-rate', '0'], {}), /--learning-rate: expected a number above 0/);
  });

  it('[EXP-5] refuses unknown sets, flags and numbers', () => {
    assert.throws(() => parseOptions(['--sets', 'banking'], {}), /expected some of banking77, clinc150, medquad/);
    assert.throws(() => parseOptions(['--seed', '1'], {}), { code: 'unknown-flag' });
    assert.throws(() => parseOptions(['--seeds', '0'], {}), /--seeds: expected a whole number of at least 1/);
  });
});
