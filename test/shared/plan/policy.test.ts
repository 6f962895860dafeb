import { strict as assert } from 'node:assert';
import { parsePlan, planHashOf } from '../../../shared/plan/plan.ts';
import { defaultPolicy, judgePlan, parsePolicy } from '../../../shared/plan/policy.ts';
import { minimalPlan } from './minimal-plan.ts';

const rounds = { count: 10, cohortSize: 5, quorum: 3 };
const plan = parsePlan({ ...minimalPlan(), rounds, secureAggregation: { mode: 'off' } }, 'plan');
const maskedPlan = (secureAggregation: object = {}) =>
  parsePlan({ ...minimalPlan(), rounds, secureAggregation }, 'plan');

/** Code and reason with which a policy refuses `plan`, or null. */
function refusal(policy: Record<string, unknown>, facts = {}) {
  const verdict = judgePlan(parsePolicy(policy, 'policy.yaml'), plan, facts);
  return verdict.ok ? null : verdict.error;
}

describe('judgePlan', () => {
  it('[POL-1] accepts a plan that keeps all rules', () => {
    assert.equal(
      refusal(
        {
          approvedPlans: [planHashOf(plan)],
          methods: ['lora', 'none'],
          baseDigests: [plan.base.digest],
          cohortMin: 5,
          quorumMin: 3,
          exampleCountMin: 100,
          roundsMax: 10,
        },
        { exampleCount: 100 },
      ),
      null,
    );
  });

  it('[POL-2] refuses by each rule with its own code, one step beyond the limit', () => {
    const cases: [Record<string, unknown>, string, RegExp][] = [
      [{ approvedPlans: ['00'.repeat(32)] }, 'plan-not-approved', /is not among the approvedPlans/],
      [{ methods: ['bottleneck'] }, 'method-not-allowed', /trains with lora, this site allows the methods bottleneck/],
      [{ methods: [] }, 'method-not-allowed', /none at all/],
      [{ baseDigests: ['00'.repeat(32)] }, 'base-not-allowed', /is not among the baseDigests/],
      [{ cohortMin: 6 }, 'cohort-too-small', /with 5 clients, this site demands at least 6/],
      [{ quorumMin: 4 }, 'quorum-too-small', /with 3 updates, this site demands at least 4/],
      [{ exampleCountMin: 100 }, 'too-few-examples', /has 99 training rows and demands at least 100/],
      [{ roundsMax: 9 }, 'too-many-rounds', /runs 10 rounds, this site allows at most 9/],
      [
        { secureAggregation: 'required' },
        'secure-aggregation-required',
        /mode is off, this site demands masked rounds/,
      ],
    ];
    for (const [policy, code, reason] of cases) {
      const found = refusal(policy, { exampleCount: 99 });
      assert.equal(found?.code, code);
      assert.match(found.reason, reason);
    }
  });

  it('[POL-8] who demands masked rounds takes part in them, and trusts no coordinator that a plan trusts', () => {
    const verdict = (policy: object, secureAggregation: object = {}) => {
      const judged = judgePlan(parsePolicy(policy, 'policy.yaml'), maskedPlan(secureAggregation));
      return judged.ok ? 'accepted' : judged.error.code;
    };
    assert.equal(verdict({ secureAggregation: 'required' }), 'accepted');
    assert.equal(verdict({}, { profile: 'semi-honest' }), 'coordinator-trusted');
    assert.equal(verdict({ maskedProfile: 'semi-honest' }, { profile: 'semi-honest' }), 'accepted');
  });

  it('[POL-9] tiny-cohort: a ring, or a bound of the norm, outside the policy is refused by it alone', () => {
    const verdict = (policy: object, secureAggregation: object) => {
      const judged = judgePlan(parsePolicy(policy, 'policy.yaml'), maskedPlan(secureAggregation));
      return judged.ok ? 'accepted' : judged.error.code;
    };
    assert.equal(verdict({ ringBits: 32 }, { ringBits: 32 }), 'accepted');
    assert.equal(verdict({ ringBits: 32 }, { ringBits: 16 }), 'ring-not-allowed');
    assert.equal(verdict({ clipNormMax: 2 }, { clipNorm: 2 }), 'accepted');
    assert.equal(verdict({ clipNormMax: 2 }, { clipNorm: 2.5 }), 'clip-too-large');
    assert.equal(verdict({ clipNormMax: 2 }, {}), 'clip-too-large');
  });

  it('[POL-16] budget-stop: a budget above that of the site is refused by its policy alone, and so is a plan that protects nobody', () => {
    const verdict = (policy: object, privacy: object) => {
      const plan = parsePlan({ ...minimalPlan(), privacy, aggregation: { weighting: 'equal' } }, 'plan');
      const judged = judgePlan(parsePolicy({ cohortMin: 1, quorumMin: 1, ...policy }, 'policy.yaml'), plan);
      return judged.ok ? 'accepted' : judged.error.reason;
    };
    for (const unit of ['client', 'record']) {
      assert.equal(verdict({ epsilonMax: 4 }, { unit, epsilon: 4 }), 'accepted');
      assert.match(
        verdict({ epsilonMax: 4 }, { unit, epsilon: 4.1 }),
        /^the plan may spend epsilon 4\.1, this site allows at most epsilon 4 \(epsilonMax\)$/,
      );
      assert.equal(verdict({}, { unit, epsilon: 1000 }), 'accepted');
    }
    assert.match(
      verdict({ epsilonMax: 4 }, {}),
      /^the plan has no differential privacy, this site allows at most epsilon 4/,
    );
    assert.equal(verdict({}, {}), 'accepted');
  });

  it('[POL-10] tiny-cohort: in a round with groups a site is hidden in its group, and its bounds hold there', () => {
    const verdict = (policy: object, groupSize: number) => {
      const plan = parsePlan(
        {
          ...minimalPlan(),
          rounds: { count: 1, cohortSize: 100, quorum: 60 },
          secureAggregation: { mode: 'on', groupSize },
        },
        'plan',
      );
      const judged = judgePlan(parsePolicy(policy, 'policy.yaml'), plan);
      return judged.ok ? 'accepted' : judged.error.code;
    };
    assert.equal(verdict({ cohortMin: 10, quorumMin: 7 }, 10), 'accepted');
    assert.equal(verdict({ cohortMin: 11 }, 10), 'cohort-too-small');
    assert.equal(verdict({ quorumMin: 8 }, 10), 'quorum-too-small');
    assert.equal(verdict({ cohortMin: 11, quorumMin: 8 }, 20), 'accepted');
  });

  it('[POL-3] lists every broken rule and takes the code of the first', () => {
    const found = refusal({ roundsMax: 1, quorumMin: 4 });
    assert.equal(found?.code, 'quorum-too-small');
    assert.match(found.reason, /quorumMin.*; .*roundsMax/);
  });

  it('[POL-4] does not judge what the site does not know yet', () => {
    assert.equal(refusal({ exampleCountMin: 1_000_000 }), null);
  });

  it('[POL-15] bounds the round numbers beyond those of the plan, and so how often a coordinator may void and try again', () => {
    const plan = parsePlan({ ...minimalPlan(), rounds: { count: 5, cohortSize: 3, quorum: 3 } }, 'plan');
    const judged = (roundIndex: number, policy: object = {}) =>
      judgePlan(parsePolicy(policy, 'p'), plan, { roundIndex });
    assert.equal(judged(104).ok, true);
    const late = judged(105);
    assert(!late.ok);
    assert.equal(late.error.code, 'too-many-void-rounds');
    assert.match(late.error.reason, /has 5 round numbers, number 105 is offered: .* at most 100 more .*voidRoundsMax/);
    assert.equal(judged(4, { voidRoundsMax: 0 }).ok, true);
    assert.equal(judged(5, { voidRoundsMax: 0 }).ok, false);
  });

  it('[POL-5] counts a cohort of all as its quorum', () => {
    const open = parsePlan({ ...minimalPlan(), rounds: { count: 1, cohortSize: 'all', quorum: 3 } }, 'plan');
    assert.equal(judgePlan(parsePolicy({ cohortMin: 3 }, 'p'), open).ok, true);
    assert.equal(judgePlan(parsePolicy({ cohortMin: 4 }, 'p'), open).ok, false);
  });
});

describe('parsePolicy', () => {
  it('[POL-6] has the documented default, which keeps metrics at the site and refuses rounds of two', () => {
    assert.deepEqual(defaultPolicy, {
      format: 'tributary-policy-1',
      approvedPlans: 'any',
      methods: 'any',
      baseDigests: 'any',
      cohortMin: 3,
      quorumMin: 3,
      exampleCountMin: 1,
      roundsMax: 1000,
      voidRoundsMax: 100,
      rankMax: 'none',
      weight: 1,
      organisationsMin: 3,
      maskedProfile: 'active',
      ringBits: 'any',
      clipNormMax: 'none',
      epsilonMax: 'none',
      planApproval: 'coordinator',
      discloseMetrics: false,
      secureAggregation: 'optional',
    });
    const pair = parsePlan({ ...minimalPlan(), rounds: { count: 1, cohortSize: 2, quorum: 2 } }, 'plan');
    const verdict = judgePlan(defaultPolicy, pair);
    assert(!verdict.ok);
    assert.equal(verdict.error.code, 'cohort-too-small');
  });

  it('[POL-7] refuses a wrong policy as a plan is refused: no rule may be lost to a typing error', () => {
    assert.throws(() => parsePolicy({ dicloseMetrics: true }, 'site.yaml'), {
      message: /^site\.yaml: dicloseMetrics is not a known field; did you mean discloseMetrics\?/,
    });
    assert.throws(() => parsePolicy({ approvedPlans: ['abc'] }, 'site.yaml'), {
      code: 'bad-policy',
      message: /^site\.yaml: approvedPlans must be any, or a list of plan hashes/,
    });
    assert.throws(() => parsePolicy({ discloseMetrics: 'yes' }, 'site.yaml'), {
      message: /must be true or false, found "yes"$/,
    });
  });
});
