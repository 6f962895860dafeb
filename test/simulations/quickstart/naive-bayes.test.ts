/** The bag of words: a known answer computed by hand, and the published reference results where the data are there. */
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { labelsOf } from '../../../shared/data/row.ts';
import { readRows } from '../../../shared/data/rows.node.ts';
import { countPredictions, featuresOf, trainNaiveBayes } from '../../../simulations/quickstart/naive-bayes.ts';
import { classificationOf } from '../../helpers/evaluation-counts.ts';

describe('trainNaiveBayes', () => {
  it('[NB-1] counts words in lower case and pairs of neighbours', () => {
    assert.deepEqual(featuresOf("My card, my PIN: it's 7!"), [
      ...['my', 'card', 'my', 'pin', 'it', 's', '7'],
      ...['my card', 'card my', 'my pin', 'pin it', 'it s', 's 7'],
    ]);
    assert.deepEqual(featuresOf('…'), []);
  });

  it('[NB-2] weighs prior and smoothed counts as the formula says', () => {
    // Vocabulary: x, y, z, "x y" = 4. P(a) = 2/3; features of a: x, y, "x y", x = 4 tokens; of b: z = 1 token.
    const rows = [
      { text: 'x y', label: 'a', line: 1 },
      { text: 'x', label: 'a', line: 2 },
      { text: 'z', label: 'b', line: 3 },
    ];
    const model = trainNaiveBayes(rows);
    const a = (count: number) => (count + 0.1) / (4 + 0.4);
    const b = (count: number) => (count + 0.1) / (1 + 0.4);
    // "y z" has the pair "y z", which is unknown and does not count.
    const isA = (2 / 3) * a(1) * a(0) > (1 / 3) * b(0) * b(1);
    assert.equal(model.classify('y z'), isA ? 'a' : 'b');
    assert.equal(model.classify('x'), 'a');
    assert.equal(model.classify('z'), 'b');
    assert.equal(model.classify('unknown words'), 'a');
    const labels = labelsOf(rows);
    const { shape } = classificationOf(labels.length);
    const counts = countPredictions(model, rows, { labels, shape });
    assert.deepEqual([counts.rightCount, counts.exampleCount], [rows.length, rows.length]);
    assert.deepEqual(counts.labels.correct, counts.labels.truth);
  });

  for (const [set, expected] of [
    ['banking77', 0.853],
    ['clinc150', 0.725],
    ['medquad', 0.744],
  ] as const) {
    it(`[NB-3] reaches ${(100 * expected).toFixed(1)} % on ${set}`, async function () {
      this.timeout(60_000);
      const folder = process.env.TRIBUTARY_DATA;
      if (folder === undefined) this.skip();
      const model = trainNaiveBayes(await readRows(join(folder, set, 'train.jsonl.gz')));
      const rows = await readRows(join(folder, set, 'test.jsonl.gz'));
      const accuracy = rows.filter(({ text, label }) => model.classify(text) === label).length / rows.length;
      assert.ok(Math.abs(accuracy - expected) < 0.001, `${accuracy}`);
    });
  }
});
