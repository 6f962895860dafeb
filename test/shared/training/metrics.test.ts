import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { type EvaluationCounts, mergeCounts, noCounts, startCounts } from '../../../shared/training/counts.ts';
import { countExclusive, countIndependent } from '../../../shared/training/decisions.ts';
import { isBetter, metricFacts, metricNames, metricsOf, metricText } from '../../../shared/training/metrics.ts';
import { bindTask } from '../../../shared/training/tasks/registry.ts';
import { classificationOf } from '../../helpers/evaluation-counts.ts';

const near = (found: number | null, expected: number, what = '') =>
  assert.ok(found !== null && Math.abs(found - expected) < 1e-9, `${what} ${found} is not ${expected}`);

function counted(scores: readonly number[], labels: readonly number[], labelCount: number): EvaluationCounts {
  const counts = startCounts(classificationOf(labelCount).shape);
  countExclusive(counts, scores, labels, labelCount);
  return { ...counts, exampleCount: labels.length };
}
const measured = (scores: readonly number[], labels: readonly number[], labelCount: number) =>
  metricsOf(counted(scores, labels, labelCount), classificationOf(labelCount).metrics);

const several = bindTask({ kind: 'multi-label', labels: ['a', 'b', 'c'], pooling: 'mean', lengthMax: 8 });
/** `scores` are log-odds. */
function independent(scores: readonly number[], labels: readonly (readonly number[])[]): EvaluationCounts {
  const counts = startCounts(several.shape);
  const targets = labels.map((own) => Int32Array.from(own));
  countIndependent(counts, scores, targets, 3);
  return { ...counts, exampleCount: labels.length };
}

describe('metricsOf labels that exclude each other', () => {
  it('[MET-1] has the known values of a small confusion: a=2 right, b=1 of 2 right, c never right', () => {
    // Truth a a b b c; predicted a a b a b. F1: a 2*2/(2+3) = 0.8, b 2*1/(2+2) = 0.5, c 0.
    const scores = [9, 0, 0, 9, 0, 0, 0, 9, 0, 9, 0, 0, 0, 9, 0];
    const { accuracy, macroF1, microF1, auroc, perplexity, exampleCount } = measured(scores, [0, 0, 1, 1, 2], 3);
    assert.equal(accuracy, 0.6);
    near(macroF1, 1.3 / 3);
    assert.deepEqual([microF1, auroc, perplexity, exampleCount], [null, null, null, 5]);
  });

  it('[MET-2] leaves labels that neither occur nor are predicted out of macro-F1', () => {
    assert.equal(measured([5, 0, 0, 0, 5, 0], [0, 1], 3).macroF1, 1);
  });

  it('[MET-3] has the mean cross-entropy in nats', () => {
    near(measured([0, 0, Math.log(3), 0], [1, 0], 2).loss, (Math.log(2) + Math.log(4 / 3)) / 2);
  });

  it('[MET-4] counts AUROC pairs as the definition does, but for pairs within one bin', () => {
    const random = seededRandom(8, 'auroc');
    const labels = Array.from({ length: 300 }, () => random.integer(2));
    const odds = labels.map((label) => 2 * random.normal() + label);
    let wins = 0;
    let pairs = 0;
    for (const [i, positive] of odds.entries()) {
      for (const [j, negative] of odds.entries()) {
        if (labels[i] !== 1 || labels[j] !== 0) continue;
        pairs++;
        wins += positive > negative ? 1 : positive === negative ? 0.5 : 0;
      }
    }
    const { auroc } = measured(
      odds.flatMap((value) => [0, value]),
      labels,
      2,
    );
    assert.ok(Math.abs(auroc! - wins / pairs) < 5e-3);
    assert.equal(measured([0, 5, 0, 5, 0, 5], [1, 0, 1], 2).auroc, 0.5);
    assert.equal(measured([0, 1, 0, 2], [1, 1], 2).auroc, null, 'only one class occurs');
  });

  it('[MET-5] is all zero for no row, and merging with no row changes nothing', () => {
    const { shape, metrics } = classificationOf(3);
    const nothing = metricsOf(noCounts(shape), metrics);
    assert.deepEqual([nothing.exampleCount, nothing.loss, nothing.accuracy, nothing.macroF1], [0, 0, 0, 0]);
    const counts = counted([1, 0, 0, 2], [0, 1], 2);
    const two = classificationOf().shape;
    assert.deepEqual(mergeCounts([noCounts(two), counts], two), counts);
    assert.throws(() => mergeCounts([counts], shape), /cannot join/);
    assert.throws(() => counted([1, 2, 3], [0], 2), /3 scores for 1 rows of 2 labels/);
  });

  it('[MET-6] has the Brier score of the definition, and a calibration error from bins of equal width', () => {
    // Probabilities of the predicted label 0.8, 0.8, 0.8, 0.8 (right three times) and 0.6 (wrong).
    const eight = Math.log(4);
    const six = Math.log(1.5);
    const scores = [eight, 0, eight, 0, eight, 0, eight, 0, six, 0];
    const { brier, calibrationError } = measured(scores, [0, 0, 0, 1, 1], 2);
    near(brier, (3 * 2 * 0.04 + 2 * 0.64 + 2 * 0.36) / 5);
    near(calibrationError, (4 * Math.abs(0.75 - 0.8) + 1 * Math.abs(0 - 0.6)) / 5);
  });
});

describe('metricsOf labels that do not exclude each other', () => {
  it('[MET-7] has the known values of three rows: F1 by label 1, 2/3 and 0, four hits of six true and five predicted', () => {
    const counts = independent(
      [2, 2, -2, 2, -2, 1, 2, 2, -1],
      [
        [0, 1],
        [0, 1],
        [0, 2],
      ],
    );
    const { accuracy, macroF1, microF1, exampleCount } = metricsOf(counts, several.metrics);
    assert.deepEqual(counts.labels, { truth: [3, 2, 1], predicted: [3, 2, 1], correct: [3, 1, 0] });
    near(accuracy, 1 / 3, 'all labels of a row');
    near(macroF1, (1 + 0.5 + 0) / 3);
    near(microF1, (2 * 4) / 12);
    assert.equal(exampleCount, 3);
  });

  it('[MET-8] has binary cross-entropy that never overflows, the Brier score, calibration and macro AUROC', () => {
    const { loss, brier, calibrationError, auroc } = metricsOf(
      independent([0, 0, 0, 0, 0, 0], [[0], []]),
      several.metrics,
    );
    near(loss, Math.log(2));
    near(brier, 0.25);
    near(calibrationError, Math.abs(1 / 6 - 0.5));
    assert.equal(auroc, 0.5, 'the mean of the one label that has both sides');
    near(metricsOf(independent([1000, -1000, -1000], [[0]]), several.metrics).loss, 0);
    near(metricsOf(independent([-1000, 0, 0], [[0]]), several.metrics).loss, (1000 + 2 * Math.log(2)) / 3);
    const ranked = independent([3, 0, 1, 1, 0, 2, -1, 0, 3], [[0], [0, 2], [2]]);
    near(metricsOf(ranked, several.metrics).auroc, (1 + 1) / 2);
  });

  it('[MET-9] is the same pooled over sites as over all rows at once, to the last bit of every count', () => {
    const random = seededRandom(3, 'sites');
    const labels = Array.from({ length: 40 }, () => [0, 1, 2].filter(() => random.uniform() < 0.4));
    const scores = Array.from({ length: 120 }, () => 2 * random.normal());
    const part = (from: number, to: number) => independent(scores.slice(3 * from, 3 * to), labels.slice(from, to));
    const pooled = mergeCounts([part(0, 7), part(7, 30), part(30, 40)], several.shape);
    const { lossSum, squaredErrorSum, calibration, ...whole } = part(0, 40);
    const { lossSum: l, squaredErrorSum: s, calibration: c, ...sites } = pooled;
    assert.deepEqual(sites, whole);
    assert.deepEqual([c.decisions, c.right], [calibration.decisions, calibration.right]);
    near(l, lossSum);
    near(s, squaredErrorSum);
  });
});

describe('metric facts', () => {
  it('[MET-10] know which direction is better, and how a value is shown', () => {
    const higher = metricNames.filter((name) => metricFacts[name].higherIsBetter);
    assert.deepEqual(higher, ['accuracy', 'macroF1', 'microF1', 'entityF1', 'auroc']);
    assert.ok(isBetter('perplexity', 3, 4) && !isBetter('accuracy', 0.3, 0.4));
    assert.ok(isBetter('loss', 1, null) && !isBetter('loss', null, 1) && !isBetter('loss', 1, 1));
    assert.deepEqual(
      [
        metricText('accuracy', 0.8125),
        metricText('perplexity', 12.345),
        metricText('loss', 0.5),
        metricText('loss', null),
      ],
      ['81.3 %', '12.35', '0.500', '–'],
    );
  });

  it('[MET-11] keep perplexity finite, whatever a site reports', () => {
    const { shape, metrics } = bindTask({ kind: 'causal', lengthMax: 8 });
    const counts = { ...noCounts(shape), exampleCount: 1, targetCount: 2 };
    near(metricsOf({ ...counts, lossSum: 2 * Math.log(7) }, metrics).perplexity, 7);
    assert.equal(metricsOf({ ...counts, lossSum: 1e9 }, metrics).perplexity, Number.MAX_VALUE);
  });
});
