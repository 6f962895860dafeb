import { strict as assert } from 'node:assert';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { judgePlan, parsePolicy } from '../../../shared/plan/policy.ts';

const planWith = (aggregation: object) =>
  parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'test',
      base: { digest: '00'.repeat(32) },
      task: { kind: 'classification', labels: ['no', 'yes'], pooling: 'first' },
      adapter: { method: 'lora' },
      rounds: { count: 1, quorum: 3 },
      aggregation,
      secureAggregation: { mode: 'off' },
    },
    'the test',
  );
const refused = (aggregation: object, message: RegExp): void =>
  assert.throws(() => planWith(aggregation), { code: 'bad-plan', message });

describe('aggregation of a plan', () => {
  it('[PAG-1] takes every rule with the fields that belong to it', () => {
    for (const aggregation of [
      { lowRank: 'factor-avg' },
      { lowRank: 'freeze-a', weighting: 'quality' },
      { lowRank: 'share-a', personal: ['head'] },
      { lowRank: 'svd' },
      { lowRank: 'svd', publishedRank: 16 },
      { lowRank: 'stack', publishedRank: 64 },
      { lowRank: 'residual', publishedRank: 64 },
      { lowRank: 'dense' },
      { lowRank: 'sketch', sketchSize: 32, publishedRank: 16 },
      { head: 'by-label', weighting: 'given' },
    ])
      assert.partialDeepStrictEqual(planWith(aggregation).aggregation, aggregation);
  });

  it('[PAG-2] refuses an unknown rule with the nearest name', () => {
    refused({ lowRank: 'freezea' }, /aggregation\.lowRank.*one of factor-avg, freeze-a.*did you mean freeze-a/);
    refused({ head: 'labels' }, /aggregation\.head.*one of mean, by-label/);
    refused({ personal: 'head' }, /aggregation\.personal.*a list of at most 256 beginnings/);
  });

  it('[PAG-3] refuses ranks and sketches that a rule does not take, and asks for those that it needs', () => {
    refused(
      { publishedRank: 8 },
      /publishedRank must be left out with the rule factor-avg.*svd, stack, residual, dense, sketch take it/,
    );
    refused({ lowRank: 'stack' }, /publishedRank must be given with the rule stack/);
    refused({ lowRank: 'residual' }, /publishedRank must be given with the rule residual/);
    refused({ lowRank: 'sketch' }, /sketchSize must be given with the rule sketch: \(clients \+ 1\) times the rank/);
    refused({ lowRank: 'svd', sketchSize: 4 }, /sketchSize must be left out with the rule svd/);
  });

  it('[PAG-4] sites weigh themselves only where a sum carries it', () => {
    refused(
      { lowRank: 'svd', weighting: 'given' },
      /weighting must be examples or equal with the rule svd, found given; with freeze-a/,
    );
    refused({ lowRank: 'dense', weighting: 'quality' }, /weighting must be examples or equal with the rule dense/);
  });

  it('[PAG-5] a site that discloses no metrics is not weighed by its accuracy in the open', () => {
    const policy = (changes: object) => parsePolicy({ ...changes }, 'the test');
    const verdict = judgePlan(policy({}), planWith({ weighting: 'quality' }));
    assert.ok(!verdict.ok && verdict.error.code === 'metrics-not-disclosed');
    assert.ok(judgePlan(policy({ discloseMetrics: true }), planWith({ weighting: 'quality' })).ok);
    assert.ok(judgePlan(policy({}), planWith({ weighting: 'given' })).ok);
    assert.throws(() => policy({ weight: 2 }), /weight.*a number at least 0 and at most 1/);
    assert.throws(() => policy({ rankMax: 0 }), /rankMax must be a whole number from 1/);
  });
});
