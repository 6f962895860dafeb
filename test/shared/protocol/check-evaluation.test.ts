import { strict as assert } from 'node:assert';
import { checkEvaluation } from '../../../shared/protocol/check-evaluation.ts';
import type { Evaluation } from '../../../shared/protocol/messages.ts';
import { scoreBinCount } from '../../../shared/training/metrics.ts';
import { digestOfByte } from './fixtures.ts';

const bins = (first: number, length = scoreBinCount): number[] =>
  Array.from({ length }, (_, bin) => (bin === 0 ? first : 0));
const metrics = {
  lossSum: 4.5,
  truth: [6, 4],
  predicted: [5, 5],
  correct: [5, 4],
  scores: { positive: bins(4), negative: bins(6) },
};
const reported = { roundHash: digestOfByte(1), modelHash: digestOfByte(2), exampleCount: 10 };
const detailOf = (changes: Partial<NonNullable<Evaluation['metrics']>>, labelCount = 2): string | undefined => {
  const found = checkEvaluation({ ...reported, metrics: { ...metrics, ...changes } }, labelCount);
  if (found !== null) assert.equal(found.code, 'bad-metrics');
  return found?.detail;
};

describe('evaluation of a site', () => {
  it('[EVL-1] that can be true is accepted, and so is one that discloses nothing', () => {
    assert.equal(detailOf({}), undefined);
    assert.equal(checkEvaluation({ ...reported, exampleCount: 0, metrics: null }, 2), null);
    const three = { truth: [5, 5, 0], predicted: [0, 10, 0], correct: [0, 5, 0], scores: null };
    assert.equal(detailOf(three, 3), undefined);
  });

  it('[EVL-2] that contradicts itself or the plan is refused', () => {
    assert.match(detailOf({}, 3)!, /3 labels/);
    assert.match(detailOf({ truth: [6, 5] })!, /must each count 10 rows/);
    assert.match(detailOf({ predicted: [5, 4] })!, /must each count 10 rows/);
    assert.match(detailOf({ correct: [6, 4] })!, /label 0/);
    assert.match(detailOf({ correct: [5, 5] })!, /label 1/);
    assert.match(detailOf({ lossSum: -1 })!, /negative/);
    assert.match(detailOf({ scores: null })!, /come with two labels/);
    assert.match(detailOf({ scores: { positive: bins(4, 7), negative: bins(6) } })!, /bins, found 7/);
    assert.match(detailOf({ scores: { positive: bins(5), negative: bins(5) } })!, /do not count the rows/);
    const three = { truth: [5, 5, 0], predicted: [0, 10, 0], correct: [0, 5, 0] };
    assert.match(detailOf(three, 3)!, /come with two labels and only then/);
  });
});
