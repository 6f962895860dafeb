import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { type Combination, compatibilityTable, conflictOf } from '../../../shared/plan/compatibility.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { describePrivacy } from '../../../shared/plan/privacy.ts';
import { declarationOf, type LowRankRule, lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { minimalPlan } from './minimal-plan.ts';

function planOf({ robust, sight, privacy, lowRank, weighting, byLabel, root }: Combination): unknown {
  const low =
    lowRank === 'sketch'
      ? { sketchSize: 16 }
      : lowRank === 'stack' || lowRank === 'residual'
        ? { publishedRank: 16 }
        : {};
  return {
    ...minimalPlan(),
    rounds: { count: 3, quorum: sight === 'group-sums' ? 50 : 5 },
    aggregation: {
      ...{ robust, lowRank, weighting, ...low },
      head: byLabel ? 'by-label' : 'mean',
      ...(robust === 'norm-clip' ? { robustNorm: 1 } : {}),
      ...(root ? { root: { file: 'root.jsonl', digest: 'ab'.repeat(32) } } : {}),
    },
    secureAggregation: {
      mode: sight === 'updates' ? 'off' : 'on',
      ...(sight === 'group-sums' ? { groupSize: 5 } : {}),
    },
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
      for (const sight of ['updates', 'sum', 'group-sums'] as const)
        for (const privacy of ['none', 'record', 'central', 'distributed'] as const)
          for (const lowRank of lowRankRuleNames)
            for (const weighting of ['equal', 'examples'] as const)
              for (const byLabel of [false, true]) {
                const root = robust === 'fltrust' && !byLabel;
                const combination = { robust, sight, privacy, lowRank, weighting, byLabel, root };
                // Masks have their own word on rules that read single updates.
                const unmaskable = sight !== 'updates' && declarationOf(lowRank).insteadWhenMasked !== null;
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
      sight: 'updates',
      privacy: 'none',
      lowRank: 'freeze-a',
      weighting: 'equal',
      byLabel: false,
      root: false,
    };
    const fixes: readonly [Combination, RegExp, Combination][] = [
      [
        { ...base, robust: 'krum', sight: 'sum' },
        /groupSize, 10 for example, krum works on the sums of groups/,
        { ...base, robust: 'krum', sight: 'group-sums' },
      ],
      [{ ...base, robust: 'median', weighting: 'examples' }, /must be equal/, { ...base, robust: 'median' }],
      [{ ...base, privacy: 'distributed' }, /must be central/, { ...base, privacy: 'central' }],
      [
        { ...base, privacy: 'central', sight: 'sum' },
        /must be distributed/,
        { ...base, privacy: 'distributed', sight: 'sum' },
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

  it('[PHV-6] a later phase is refused exactly where a plan of one is, and named', () => {
    for (const robust of robustRuleNames)
      for (const sight of ['updates', 'sum', 'group-sums'] as const)
        for (const privacy of ['none', 'record', 'central', 'distributed'] as const)
          for (const lowRank of ['freeze-a', 'svd', 'sketch'] as const) {
            const root = robust === 'fltrust';
            const combination = { robust, sight, privacy, lowRank, weighting: 'equal', byLabel: false, root } as const;
            const { aggregation, ...document } = planOf(combination) as { readonly aggregation: object };
            const first = { name: 'first', aggregation: { weighting: 'equal' } };
            const later = (phases: readonly object[]) => parsePlan({ ...document, phases }, 'the test');
            // What the document says for all phases has to be possible at all.
            if (!accepts({ ...combination, robust: 'none', lowRank: 'freeze-a', root: false })) continue;
            const read = () => later([first, { name: 'second', aggregation }]);
            if (accepts(combination))
              assert.deepEqual(
                read().phases?.map(({ name }) => name),
                ['first', 'second'],
              );
            else assert.throws(read, /phase second: /, JSON.stringify(combination));
          }
  });

  it('[CMP-5] a rule over groups is refused without as many as it needs, with buckets, and groups without masks', () => {
    const faults = (changes: { rounds?: object; aggregation?: object; secureAggregation?: object }): string => {
      const aggregation = { robust: 'median', hostileMax: 2, weighting: 'equal', ...changes.aggregation };
      const secureAggregation = { mode: 'on', groupSize: 10, ...changes.secureAggregation };
      const rounds = { count: 1, quorum: 50, ...changes.rounds };
      try {
        parsePlan({ ...minimalPlan(), rounds, aggregation, secureAggregation }, 'the test');
        return '';
      } catch (thrown) {
        return String(thrown);
      }
    };
    assert.equal(faults({}), '');
    assert.match(
      faults({ rounds: { quorum: 49 } }),
      /rounds.quorum must be at least 50, found 49.*5 groups \(n >= 2f \+ 1/,
    );
    assert.match(faults({ aggregation: { robust: 'krum' } }), /must be at least 70/);
    assert.match(faults({ aggregation: { bucketSize: 2 } }), /bucketSize must be 1 with masked rounds/);
    assert.match(faults({ secureAggregation: { mode: 'off' } }), /groupSize must be left out without masked rounds/);
    assert.match(faults({ secureAggregation: { groupSize: 4 } }), /groupSize must be .* from 5 to 64/);
    assert.equal(
      faults({
        rounds: { quorum: 130, cohortSize: 200 },
        secureAggregation: { groupSize: 64 },
        aggregation: { robust: 'none' },
      }),
      '',
    );
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
