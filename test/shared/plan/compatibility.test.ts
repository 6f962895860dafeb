import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { type Combination, compatibilityTable, conflictOf } from '../../../shared/plan/compatibility.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { describePrivacy } from '../../../shared/plan/privacy.ts';
import { declarationOf, type LowRankRule, lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { minimalPlan } from './minimal-plan.ts';

function planOf({ robust, masked, privacy, lowRank, weighting, byLabel, root }: Combination): unknown {
  const low =
    lowRank === 'sketch'
      ? { sketchSize: 16 }
      : lowRank === 'stack' || lowRank === 'residual'
        ? { publishedRank: 16 }
        : {};
  return {
    ...minimalPlan(),
    rounds: { count: 3, quorum: 5 },
    aggregation: {
      ...{ robust, lowRank, weighting, ...low },
      head: byLabel ? 'by-label' : 'mean',
      ...(robust === 'norm-clip' ? { robustNorm: 1 } : {}),
      ...(root ? { root: { file: 'root.jsonl', digest: 'ab'.repeat(32) } } : {}),
    },
    secureAggregation: { mode: masked ? 'on' : 'off' },
    privacy:
      privacy === 'none' ? {} : privacy === 'record' ? { unit: 'record' } : { unit: 'client', mechanism: privacy },
  };
}

const accepts = (combination: Combination): boolean => {
  try {
    parsePlan(planOf(combination), 'the test');
    return true;
  } catch {
    return false;
  }
};

describe('what can be combined', () => {
  it('[CMP-1] cell by cell: a plan is refused exactly where the table says so', () => {
    let [allowed, refused] = [0, 0];
    for (const robust of robustRuleNames)
      for (const masked of [false, true])
        for (const privacy of ['none', 'record', 'central', 'distributed'] as const)
          for (const lowRank of lowRankRuleNames)
            for (const weighting of ['equal', 'examples'] as const)
              for (const byLabel of [false, true]) {
                const root = robust === 'fltrust' && !byLabel;
                const combination = { robust, masked, privacy, lowRank, weighting, byLabel, root };
                // Masks have their own word on rules that read single updates.
                const unmaskable = masked && declarationOf(lowRank).insteadWhenMasked !== null;
                const works = conflictOf(combination) === null && !unmaskable;
                assert.equal(accepts(combination), works, JSON.stringify(combination));
                if (works) allowed++;
                else refused++;
              }
    assert.ok(allowed > 100 && refused > 100);
  });

  it('[CMP-2] what is refused says why, and what is named as nearest works', () => {
    const base: Combination = {
      robust: 'none',
      masked: false,
      privacy: 'none',
      lowRank: 'freeze-a',
      weighting: 'equal',
      byLabel: false,
      root: false,
    };
    const fixes: readonly [Combination, RegExp, Combination][] = [
      [{ ...base, robust: 'krum', masked: true }, /looks at single updates/, { ...base, robust: 'krum' }],
      [{ ...base, robust: 'median', weighting: 'examples' }, /must be equal/, { ...base, robust: 'median' }],
      [{ ...base, privacy: 'distributed' }, /must be central/, { ...base, privacy: 'central' }],
      [
        { ...base, privacy: 'central', masked: true },
        /must be distributed/,
        { ...base, privacy: 'distributed', masked: true },
      ],
      [{ ...base, robust: 'fltrust' }, /centred-clip is the nearest/, { ...base, robust: 'centred-clip' }],
      [{ ...base, robust: 'fltrust' }, /must be given/, { ...base, robust: 'fltrust', root: true }],
      [{ ...base, robust: 'median', root: true }, /must be left out/, { ...base, robust: 'median' }],
    ];
    for (const [wrong, reason, right] of fixes) {
      assert.match(conflictOf(wrong)?.sentence ?? '', reason);
      assert.equal(conflictOf(right), null);
      assert.ok(accepts(right));
    }
    for (const lowRank of lowRankRuleNames.filter((name) => declarationOf(name).needs !== 'sum')) {
      const nearest = / (\S+) is the nearest/.exec(
        conflictOf({ ...base, robust: 'median', lowRank })?.sentence ?? '',
      )?.[1];
      assert.equal(conflictOf({ ...base, robust: 'median', lowRank: nearest as LowRankRule }), null);
    }
  });

  it('[CMP-3] the table in the documentation is the one that refuses', () => {
    const page = readFileSync(new URL('../../../shared/plan/COMPATIBILITY.md', import.meta.url), 'utf8');
    assert.ok(page.includes(compatibilityTable()), `put this into COMPATIBILITY.md:\n${compatibilityTable()}`);
  });

  it('[CMP-4] a plan says what it spends, when the budget ends, and warns of few clients; clipping alone is not called private', () => {
    const plan = (privacy: object) =>
      parsePlan(
        { ...minimalPlan(), aggregation: { weighting: 'equal' }, secureAggregation: { mode: 'off' }, privacy },
        'the test',
      );
    const sized = describePrivacy(plan({ unit: 'client', epsilon: 4 }));
    assert.match(sized[0]!, /after 3 at delta/);
    assert.match(sized[1]!, /fewer than 50 clients/);
    const ends = describePrivacy(plan({ unit: 'client', epsilon: 4, noiseMultiplier: 1.5 }));
    assert.match(ends[0]!, /the budget ends after \d of 3 rounds/);
    assert.match(describePrivacy(plan({ clipNorm: 0.5 }))[0]!, /no differential privacy/);
  });
});
