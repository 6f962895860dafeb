import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import { countScores, mergeCounts, metricsOf, noCounts } from '../../../shared/training/metrics.ts';

describe('metricsOf', () => {
  it('[MET-1] has the known values of a small confusion: a=2 right, b=1 of 2 right, c never right', () => {
    // Truth a a b b c; predicted a a b a b. F1: a 2*2/(2+3) = 0.8, b 2*1/(2+2) = 0.5, c 0.
    const scores = [9, 0, 0, 9, 0, 0, 0, 9, 0, 9, 0, 0, 0, 9, 0];
    const { accuracy, macroF1, auroc, exampleCount } = metricsOf(countScores(scores, [0, 0, 1, 1, 2], 3));
    assert.equal(accuracy, 0.6);
    assert.ok(Math.abs(macroF1 - 1.3 / 3) < 1e-12);
    assert.equal(auroc, null);
    assert.equal(exampleCount, 5);
  });

  it('[MET-2] leaves labels that neither occur nor are predicted out of macro-F1', () => {
    assert.equal(metricsOf(countScores([5, 0, 0, 0, 5, 0], [0, 1], 3)).macroF1, 1);
  });

  it('[MET-3] has the mean cross-entropy in nats', () => {
    const { loss } = metricsOf(countScores([0, 0, Math.log(3), 0], [1, 0], 2));
    assert.ok(Math.abs(loss - (Math.log(2) + Math.log(4 / 3)) / 2) < 1e-12);
  });

  it('[MET-4] counts AUROC pairs as the definition does, but for pairs within one bin', () => {
    const random = seededRandom(8, 'auroc');
    const labels = Array.from({ length: 300 }, () => random.integer(2));
    const odds = labels.map((label) => 2 * random.normal() + label);
    const counts = countScores(
      odds.flatMap((value) => [0, value]),
      labels,
      2,
    );
    let wins = 0;
    let pairs = 0;
    for (const [i, positive] of odds.entries()) {
      for (const [j, negative] of odds.entries()) {
        if (labels[i] !== 1 || labels[j] !== 0) continue;
        pairs++;
        wins += positive > negative ? 1 : positive === negative ? 0.5 : 0;
      }
    }
    assert.ok(Math.abs(metricsOf(counts).auroc! - wins / pairs) < 5e-3);
    assert.equal(metricsOf(countScores([0, 5, 0, 5, 0, 5], [1, 0, 1], 2)).auroc, 0.5);
    assert.equal(metricsOf(countScores([0, 1, 0, 2], [1, 1], 2)).auroc, null, 'only one class occurs');
  });

  it('[MET-5] is all zero for no row, and merging with no row changes nothing', () => {
    assert.deepEqual(metricsOf(noCounts(3)), { exampleCount: 0, loss: 0, accuracy: 0, macroF1: 0, auroc: null });
    const counts = countScores([1, 0, 0, 2], [0, 1], 2);
    assert.deepEqual(mergeCounts([noCounts(2), counts], 2), counts);
    assert.throws(() => mergeCounts([counts], 3), /cannot join/);
    assert.throws(() => countScores([1, 2, 3], [0], 2), /3 scores for 1 rows of 2 labels/);
  });
});
