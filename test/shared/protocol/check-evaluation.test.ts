import { strict as assert } from 'node:assert';
import { messageBytesMax } from '../../../shared/core/limits.ts';
import { evaluationFormat } from '../../../shared/protocol/bodies.ts';
import { encodeCanonical } from '../../../shared/protocol/canonical.ts';
import { checkEvaluation } from '../../../shared/protocol/check-evaluation.ts';
import type { Evaluation } from '../../../shared/protocol/messages.ts';
import { type EvaluationCounts, noCounts, scoreBinCount, startCounts } from '../../../shared/training/counts.ts';
import { countExclusive, countIndependent } from '../../../shared/training/decisions.ts';
import { countEntities } from '../../../shared/training/entities.ts';
import { bindTask } from '../../../shared/training/tasks/registry.ts';
import { classificationOf } from '../../helpers/evaluation-counts.ts';
import { digestOfByte } from './fixtures.ts';

const ids = { roundHash: digestOfByte(1), modelHash: digestOfByte(2) };
const evaluationOf = ({ exampleCount, ...metrics }: EvaluationCounts): Evaluation => ({
  ...ids,
  exampleCount,
  metrics,
});

/** Counts of ten rows: six of label 0, of which five are right, and four of label 1, all right. */
function binary(): EvaluationCounts {
  const counts = startCounts(classificationOf().shape);
  const truth = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1];
  countExclusive(
    counts,
    truth.flatMap((label, row) => (label === 0 && row > 0 ? [1, 0] : [0, 1])),
    truth,
    2,
  );
  return { ...counts, exampleCount: 10 };
}

const faultOf = (changes: Partial<EvaluationCounts>, shape = classificationOf().shape): string | undefined => {
  const found = checkEvaluation(evaluationOf({ ...binary(), ...changes }), shape);
  if (found !== null) assert.equal(found.code, 'bad-metrics');
  return found?.detail;
};
const moved = (counts: readonly number[], index: number, by: number): number[] =>
  counts.map((count, at) => (at === index ? count + by : count));

describe('evaluation of a site', () => {
  it('[EVL-1] that can be true is accepted, for every kind of task, and so is one that discloses nothing', () => {
    assert.equal(faultOf({}), undefined);
    assert.equal(checkEvaluation({ ...ids, exampleCount: 0, metrics: null }, classificationOf().shape), null);
    const labels = ['O', 'B-X', 'I-X'];
    const tagging = bindTask({ kind: 'tokens', labels, lengthMax: 8 });
    const tagged = startCounts(tagging.shape);
    countExclusive(tagged, [1, 0, 0, 0, 1, 0, 0, 1, 0], [0, 1, 2], 3);
    countEntities(tagged, ['X'], { truth: ['O', 'B-X', 'I-X'], predicted: ['O', 'B-X', 'B-X'] });
    tagged.exampleCount = 1;
    assert.equal(checkEvaluation(evaluationOf(tagged), tagging.shape), null);
    const several = bindTask({ kind: 'multi-label', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 });
    const independent = startCounts(several.shape);
    countIndependent(independent, [1, 1, -1, 1], [Int32Array.of(0, 1), Int32Array.of()], 2);
    independent.exampleCount = 2;
    assert.equal(checkEvaluation(evaluationOf(independent), several.shape), null);
  });

  it('[EVL-2] that contradicts itself or the plan is refused', () => {
    const { labels, calibration, histograms } = binary();
    const [histogram] = histograms;
    assert.match(faultOf({}, classificationOf(3).shape)!, /entries, the plan's task 3/);
    assert.match(faultOf({ exampleCount: 11 })!, /10 targets of 11 rows/);
    assert.match(faultOf({ rightCount: 11 })!, /11 of 10 targets/);
    assert.match(faultOf({ rightCount: 8 })!, /not those of all labels/);
    assert.match(faultOf({ labels: { ...labels, truth: [6, 5] } })!, /must each count 10 targets/);
    assert.match(faultOf({ labels: { ...labels, predicted: [5, 4] } })!, /must each count 10 targets/);
    assert.match(faultOf({ labels: { ...labels, correct: [6, 4] } })!, /label 0/);
    assert.match(faultOf({ labels: { ...labels, correct: [5, 5] } })!, /label 1/);
    assert.match(faultOf({ entities: labels })!, /entity type/);
    assert.match(faultOf({ lossSum: -1 })!, /negative/);
    assert.match(faultOf({ lossSum: 1e11 })!, /loss of a target is at most/);
    assert.match(faultOf({ squaredErrorSum: 21 })!, /from 0 to 2/);
    assert.match(faultOf({ histograms: [] })!, /has 1 score histograms, found 0/);
    const short = { positive: [4], negative: histogram!.negative };
    assert.match(faultOf({ histograms: [short] })!, new RegExp(`has ${scoreBinCount} bins, found 1`));
    const wrong = { positive: moved(histogram!.positive, 0, 1), negative: moved(histogram!.negative, 0, -1) };
    assert.match(faultOf({ histograms: [wrong] })!, /do not count the rows/);
    assert.match(faultOf({ calibration: { ...calibration, right: [1] } })!, /right has 1 bins/);
    const decisions = moved(calibration.decisions, 3, 1);
    assert.match(faultOf({ calibration: { ...calibration, decisions } })!, /10 decisions, the bins count 11/);
    const right = moved(calibration.right, 0, 1);
    assert.match(faultOf({ calibration: { ...calibration, right } })!, /more right decisions/);
  });

  it('[EVL-3] of the largest task that has all counts fits one message', () => {
    const labels = Array.from({ length: 16_384 }, (_, index) => (index === 0 ? 'O' : `B-${index}`));
    const largest = noCounts(bindTask({ kind: 'tokens', labels, lengthMax: 8 }).shape);
    const several = bindTask({ kind: 'multi-label', labels: labels.slice(0, 64), pooling: 'mean', lengthMax: 8 });
    for (const counts of [largest, noCounts(several.shape)])
      assert.ok(encodeCanonical(evaluationFormat, evaluationOf(counts)).length < messageBytesMax - 10_000);
  });
});
