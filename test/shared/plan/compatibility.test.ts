import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { type Combination, compatibilityTable, conflictOf, conflictsOf } from '../../../shared/plan/compatibility.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { describePrivacy } from '../../../shared/plan/privacy.ts';
import { lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { minimalPlan } from './minimal-plan.ts';

function planOf(combination: Combination): unknown {
  const { robust, hostileMax, sight, quorum, groupSize, privacy, lowRank, weighting, byLabel, root } = combination;
  const low =
    lowRank === 'sketch'
      ? { sketchSize: 16 }
      : lowRank === 'stack' || lowRank === 'residual'
        ? { publishedRank: 16 }
        : {};
  return {
    ...minimalPlan(),
    rounds: { count: 3, quorum },
    aggregation: {
      ...{ robust, hostileMax, lowRank, weighting, ...low },
      head: byLabel ? 'by-label' : 'mean',
      ...(robust === 'norm-clip' ? { robustNorm: 1 } : {}),
      ...(root ? { root: { file: 'root.jsonl', digest: 'ab'.repeat(32) } } : {}),
    },
    secureAggregation: {
      mode: sight === 'updates' ? 'off' : 'on',
      ...(sight === 'group-sums' ? { groupSize } : {}),
    },
    privacy:
      privacy === 'none' ? {} : privacy === 'record' ? { unit: 'record' } : { unit: 'client', mechanism: privacy },
  };
}

const faultsOf = (combination: Combination): string => {
  try {
    parsePlan(planOf(combination), 'the test');
    return '';
  } catch (thrown) {
    return String(thrown);
  }
};
const accepts = (combination: Combination): boolean => faultsOf(combination) === '';

const plain: Combination = {
  robust: 'none',
  hostileMax: 1,
  sight: 'updates',
  quorum: 50,
  groupSize: 5,
  privacy: 'none',
  lowRank: 'freeze-a',
  weighting: 'equal',
  byLabel: false,
  root: false,
};

/** Every cell: of all robust rules with and without rows of the operator, what is seen, noise, rules for pairs, weights and heads. */
function* cells(quorum: number): Generator<Combination> {
  for (const robust of robustRuleNames)
    for (const sight of ['updates', 'sum', 'group-sums'] as const)
      for (const privacy of ['none', 'record', 'central', 'distributed'] as const)
        for (const lowRank of lowRankRuleNames)
          for (const weighting of ['equal', 'examples', 'given', 'quality'] as const)
            for (const byLabel of [false, true])
              for (const root of robust === 'fltrust' || robust === 'median' ? [false, true] : [false])
                yield { ...plain, robust, sight, quorum, privacy, lowRank, weighting, byLabel, root };
}

describe('what can be combined', () => {
  it('[CMP-1] cell by cell: a plan is refused exactly where the table says so', () => {
    let [allowed, refused] = [0, 0];
    for (const combination of cells(50)) {
      const works = conflictOf(combination) === null;
      assert.equal(accepts(combination), works, JSON.stringify(combination));
      if (works) allowed++;
      else refused++;
    }
    assert.ok(allowed > 300 && refused > 300, `${allowed} ${refused}`);
  });

  it('[CMP-2] cell by cell: what is refused says why and what to set, and the plan that it names as nearest is accepted', () => {
    const known = new Map<string, string>();
    for (const quorum of [5, 50])
      for (const combination of cells(quorum)) {
        const conflicts = conflictsOf(combination);
        const last = conflicts.at(-1);
        if (last === undefined) continue;
        for (const { path, sentence } of conflicts) {
          const field = path.split('.').at(-1)!;
          assert.match(sentence, /^must be /, sentence);
          assert.match(sentence, /[:,;] |which /, `${field}: ${sentence}`);
        }
        // Masked groups of so few clients are refused for themselves.
        if (last.nearest.sight === 'group-sums' && quorum === 5) continue;
        const key = JSON.stringify(last.nearest);
        if (!known.has(key)) known.set(key, faultsOf(last.nearest));
        assert.equal(known.get(key), '', `${JSON.stringify(combination)} to ${key}`);
        // Nothing is given up but what was in the way.
        const given = ['privacy', 'lowRank', 'weighting', 'byLabel'] as const;
        for (const field of given)
          if (conflictOf({ ...last.nearest, [field]: combination[field] }) === null)
            assert.equal(last.nearest[field], combination[field], `${field} of ${JSON.stringify(combination)}`);
      }
    assert.ok(known.size > 50);
  });

  it('[CMP-6] what a message says to set is what the nearest plan sets, for rounds of few clients and of many', () => {
    for (const [change, says, nearest] of [
      [
        { robust: 'krum', sight: 'sum', quorum: 5 },
        /robust must be none, found krum: .*5 groups .*of at least 5 clients are more than the 5 of rounds\.quorum; secureAggregation\.clipNorm alone/,
        { robust: 'none', sight: 'sum' },
      ],
      [
        { robust: 'krum', sight: 'sum', quorum: 40 },
        /groupSize must be given, 8 for example: krum looks at several vectors/,
        { robust: 'krum', sight: 'group-sums', groupSize: 8 },
      ],
      [{ robust: 'median', weighting: 'examples' }, /weighting must be equal .*found examples/, { weighting: 'equal' }],
      [{ privacy: 'distributed' }, /mechanism must be central .*found distributed/, { privacy: 'central' }],
      [{ privacy: 'central', sight: 'sum' }, /mechanism must be distributed/, { privacy: 'distributed' }],
      [{ robust: 'fltrust' }, /root must be given .*aggregation\.robust median is the nearest/, { robust: 'median' }],
      [
        { robust: 'fltrust', quorum: 2 },
        /norm-clip with aggregation\.robustNorm is the nearest/,
        { robust: 'norm-clip' },
      ],
      [{ robust: 'median', root: true }, /root must be left out/, { root: false }],
      [
        { lowRank: 'svd', sight: 'sum' },
        /svd reads single updates, which masked rounds hide; sketch/,
        { lowRank: 'sketch' },
      ],
      [{ lowRank: 'stack', robust: 'median' }, /stack reads single updates.*sketch/, { lowRank: 'sketch' }],
      [{ lowRank: 'dense', weighting: 'quality' }, /weighting must be examples or equal/, { weighting: 'examples' }],
      [
        { privacy: 'record', byLabel: true },
        /head must be mean with privacy of records: which labels a site has would leave it without noise, found by-label/,
        { byLabel: false, privacy: 'record' },
      ],
      [
        { privacy: 'record', weighting: 'quality' },
        /weighting must be examples, equal or given with privacy of records/,
        { weighting: 'examples', privacy: 'record' },
      ],
    ] as const) {
      const wrong: Combination = { ...plain, ...change };
      assert.match(faultsOf(wrong), says);
      const found = conflictsOf(wrong).at(-1)!.nearest;
      assert.partialDeepStrictEqual(found, nearest);
      assert.equal(faultsOf(found), '');
    }
    // Where several things are in the way, all of them are said at once.
    const several = faultsOf({ ...plain, sight: 'sum', privacy: 'central', weighting: 'examples', byLabel: true });
    assert.match(several, /mechanism must be distributed/);
    assert.match(several, /weighting must be equal/);
    assert.match(several, /head must be mean/);
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
            const combination: Combination = { ...plain, robust, sight, privacy, lowRank, root };
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
    assert.match(describePrivacy(plan({ unit: 'none', clipNorm: 0.5 }))[0]!, /no differential privacy/);
  });
});
