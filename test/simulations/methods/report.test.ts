import { strict as assert } from 'node:assert';
import type { MethodPlan, MethodResult } from '../../../simulations/methods/cells.ts';
import { contenderNames, contenders } from '../../../simulations/methods/contenders.ts';
import { differenceOf, orderings, verdictOf } from '../../../simulations/methods/orderings.ts';
import { methodsMarkdown } from '../../../simulations/methods/report.ts';

const plan: MethodPlan = {
  set: 'clinc150',
  settings: { rows: 10, epochs: 1, lengthMax: 8, batchSize: 4 },
  validationRows: 5,
  testRows: 6,
  passedOver: 7,
};

function result(method: string, seed: number, accuracy: number, split: 'test' | 'validation' = 'test'): MethodResult {
  const settings = {
    ...plan.settings,
    testRows: 6,
    passedOver: 7,
    learningRate: method === 'naive-bayes' ? null : 0.01,
  };
  const sizes = { parameters: 1234, headParameters: 99, updateBytes: method === 'naive-bayes' ? 0 : 5332 };
  const cell = { set: plan.set, seed, method, split, settings };
  const rest = { macroF1: 0, loss: 1, diverged: false, epochSeconds: 2, trainRows: 10, testRows: 6 };
  return { cell, accuracy, ...sizes, ...rest };
}

describe('orderings', () => {
  it('[MRP-6] name methods of the table', () => {
    for (const { method, other } of orderings) {
      assert.ok(contenderNames.includes(method), method);
      assert.ok(contenderNames.includes(other), other);
    }
  });

  it('[MRP-7] ahead holds in all seeds, is reversed in none, else undecided; level holds within the margin', () => {
    const bySeed = (...values: number[]) => new Map(values.map((value, seed) => [seed, value]));
    const verdict = (is: 'ahead' | 'level', left: number[], right: number[]) =>
      verdictOf({ is }, differenceOf(bySeed(...left), bySeed(...right))!);
    assert.equal(verdict('ahead', [0.5, 0.6], [0.4, 0.5]), 'holds here');
    assert.equal(verdict('ahead', [0.4, 0.5], [0.5, 0.6]), 'is reversed here');
    assert.equal(verdict('ahead', [0.4, 0.6], [0.5, 0.5]), 'is undecided here');
    assert.equal(verdict('ahead', [0.4], [0.3]), 'is so in the one seed');
    assert.equal(verdict('level', [0.5, 0.52], [0.5, 0.5]), 'holds here');
    assert.equal(verdict('level', [0.6], [0.5]), 'does not hold here');
    assert.equal(differenceOf(bySeed(1), undefined), null);
  });
});

describe('methodsMarkdown', () => {
  it('[MRP-8] prints spread, sizes, wins and losses, the search, and what is missing', () => {
    const results = [
      result('probe', 1, 0.3),
      result('probe', 2, 0.4),
      result('lora', 1, 0.5),
      result('lora', 2, 0.5),
      result('dora', 1, 0.2),
      result('dora', 2, 0.3),
      result('naive-bayes', 1, 0.9),
    ];
    const search = [result('lora', 0, 0.25, 'validation')];
    const text = methodsMarkdown({ plan, methods: contenders, results, search });
    assert.match(text, /\| probe \| [^|]+ \| 0\.01 \| 35\.0 ± 7\.1 \| 2 \| 1,234 \| 2\.0 \| 5,332 \|/);
    assert.match(text, /\| naive-bayes \| [^|]+ \| – \| 90\.0 \| 1 \| – \| 2\.0 \| – \|/);
    assert.match(text, /Ahead of probe: lora \(\+15\.0 ± 7\.1 points, better in 2 of 2 seeds\)\./);
    assert.match(text, /Not ahead of probe: dora \(-10\.0 ± 0\.0 points, better in 0 of 2 seeds\)\./);
    assert.match(text, /dora ahead of lora \(Liu 2024\): is reversed here/);
    assert.match(text, /Without a result yet: full, bias/);
    assert.match(text, /\| lora \| \*\*25\.0\*\* \|/);
  });
});
