/** Scores and the table: counts become accuracies, dashes stand where nothing was measured, losses are said as plainly as wins. */
import { strict as assert } from 'node:assert';
import { startCounts } from '../../../shared/training/counts.ts';
import { countExclusive } from '../../../shared/training/decisions.ts';
import {
  comparisonOf,
  comparisonTables,
  meanOf,
  percent,
  scoreOf,
  scoresOf,
  verdictOf,
} from '../../../simulations/quickstart/summary.ts';
import { classificationOf } from '../../helpers/evaluation-counts.ts';
import { fixtureSummary } from './fixture.ts';

const three = classificationOf(3);

/** Counts of rows of three labels; `right` of `total` are predicted as their label, which is 0. */
const counts = (right: number, total: number) => {
  const found = startCounts(three.shape);
  const scores = Array.from({ length: total }, (_, row) => (row < right ? [1, 0, 0] : [0, 1, 0])).flat();
  countExclusive(found, scores, new Int32Array(total), 3);
  return { ...found, exampleCount: total };
};

describe('quickstart summary', () => {
  it('[SUM-1] own scores are by site, the pooled score is over all rows, those of nobody too', () => {
    const score = scoreOf([counts(3, 4), counts(0, 0), counts(1, 6)], 2, { ...three, metric: 'accuracy' });
    assert.deepEqual(score, { pooled: 0.4, own: [0.75, null] });
  });

  it('[SUM-2] a site alone is scored on its own rows with its own adapter', () => {
    const score = (pooled: number) => ({ pooled, own: [pooled + 1, pooled + 2] });
    const scores = scoresOf({
      bagOfWords: score(0.1),
      head: score(0.2),
      local: [score(0.3), score(0.4)],
      federated: score(0.5),
      pooled: score(0.6),
    });
    assert.deepEqual(scores.local, [0.3, 0.4]);
    assert.deepEqual(scores.onOwnData.local, [1.3, 2.4]);
    assert.deepEqual(scores.onOwnData.federated, [1.5, 2.5]);
    assert.equal(scores.federated, 0.5);
  });

  it('[SUM-3] the tables have every contender and every site, within 80 columns', () => {
    const summary = fixtureSummary();
    const text = comparisonTables(summary, comparisonOf(summary, { up: 11_000, down: 22_000 }));
    const lines = text.split('\n');
    assert.ok(lines.every((line) => line.length <= 80));
    assert.match(text, /^federated adapter +81\.3 % +123 kB +7\.89 MB +40 s$/m);
    assert.match(text, /^federated head alone, no adapter +50\.0 % +11\.0 kB +22\.0 kB +5\.0 s$/m);
    assert.match(text, /^adapter of one site alone \(mean\) +42\.5 % +– +– +12 s$/m);
    assert.match(text, /own test rows +words +head +alone +federated +pooled$/m);
    assert.match(text, /^site-1 +63\.0 % +54\.0 % +61\.0 % +72\.0 % +85\.0 %$/m);
    assert.match(text, /^site-2 +– +– +– +– +–$/m);
    assert.match(text, /^mean +63\.0 %/m);
  });

  it('[SUM-4] the verdict says above, below and level', () => {
    assert.match(verdictOf(fixtureSummary(0.6)), /60\.0 % .*17\.5 points above the mean adapter of one site alone/);
    assert.match(verdictOf(fixtureSummary(0.6)), /10\.0 points below a bag of words/);
    assert.match(verdictOf(fixtureSummary(0.7)), /level with a bag of words/);
  });

  it('[SUM-5] means leave out what was not measured', () => {
    assert.equal(meanOf([0.5, null, 0.7]), 0.6);
    assert.equal(meanOf([null]), null);
    assert.equal(percent(null), '–');
    assert.equal(percent(0.12345), '12.3 %');
  });

  it('[SUM-6] contenders that a task does not have are missing from the tables, and lower may be better', () => {
    const found = fixtureSummary(12.25);
    const summary = {
      ...found,
      metric: { name: 'perplexity', higherIsBetter: false },
      scores: { ...found.scores, bagOfWords: null, head: null, local: [20, 30], pooled: 10 },
      secondsOf: { ...found.secondsOf, head: null },
    } as const;
    const rows = comparisonOf(summary, null);
    assert.deepEqual(
      rows.map(({ key }) => key),
      ['local', 'federated', 'pooled'],
    );
    assert.match(comparisonTables(summary, rows), /^perplexity on all test rows/);
    const verdict = verdictOf(summary);
    assert.match(
      verdict,
      /reaches perplexity \(lower is better\) 12\.25 on all test rows: 12\.75 below the mean adapter/,
    );
    assert.match(verdict, /2\.25 above an adapter on pooled data/);
    assert.doesNotMatch(verdict, /bag of words|head alone/);
  });
});
