/**
 * A site's policy: what its data may be used for. The site writes it, the coordinator never sees it, and a plan that it refuses is declined
 * with the reason. It protects the site's consent; it does not protect against a coordinator that lies about its cohort, which only
 * secure aggregation does.
 *
 * Default policy, when the site has written none: any plan, method and base; at least 3 clients and 3 updates in a round (with fewer, the
 * published difference is one site's own or lets one site compute the other's); at least 1 row; at most 1,000 rounds, and 100 void ones; any rank;
 * any privacy budget, or none; no metrics of this site leave it unmasked; in a masked round at least 3 organisations, and masks that hold against any coordinator; unmasked rounds are accepted
 * where a plan has them.
 */
import * as z from 'zod/mini';
import type { Digest } from '../core/ids.ts';
import { cohortSizeMax } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse, succeed } from '../core/result.ts';
import type { Profile } from '../secure-aggregation/threshold.ts';
import { booleanField, choiceField, digestField, numberField, sectionField, textField, wholeField } from './fields.ts';
import { documentOfPlan, plansAhead, roundCountOf } from './phases.ts';
import { documentHashOf, type Plan } from './plan.ts';
import { describeProblems, throwProblems } from './problems.ts';
import { groupSizeOf, isMasked, sumSizesOf } from './secure-aggregation.ts';

/** A checked policy with all defaults filled in. */
export interface Policy {
  readonly format: 'tributary-policy-1';
  /** Hashes of the plans that this site approved, or `any`. */
  readonly approvedPlans: 'any' | readonly Digest[];
  /** Adapter methods that may train here. */
  readonly methods: 'any' | readonly string[];
  /** Base models that may run here. */
  readonly baseDigests: 'any' | readonly Digest[];
  /** Least clients asked per round, and in a group of a round. A plan that asks all who are there counts as its quorum. */
  readonly cohortMin: number;
  /** Least updates in a published round, and in the sum of a group. */
  readonly quorumMin: number;
  /** Least training rows of this site: what is learned from very few can give them away. */
  readonly exampleCountMin: number;
  /** Most rounds of one plan. */
  readonly roundsMax: number;
  /**
   * Most round numbers beyond those of the plan. Every void round lets the coordinator see one more sum of other clients, or draw other groups: a number
   * is never offered twice, so this bounds how often, over restarts and whatever was signed about it.
   */
  readonly voidRoundsMax: number;
  /** Largest rank of low-rank pairs that is trained here: what is beyond stays as it is. Plans whose rule cannot do that are declined. */
  readonly rankMax: 'none' | number;
  /** Weight of this site from 0 to 1, where a plan lets sites give their own (`aggregation.weighting: given`). */
  readonly weight: number;
  /** Least organisations among whose clients this site is hidden in a masked round, or in its group. */
  readonly organisationsMin: number;
  /** `active` takes part in a masked round only if even a coordinator that deviates sees sums alone. */
  readonly maskedProfile: Profile;
  /** Widths of the ring in which this site masks: 16 bits cost precision. */
  readonly ringBits: 'any' | 16 | 32;
  /** Largest norm to which a masked round may leave an update of this site: what is longer stands out of the sum. */
  readonly clipNormMax: 'none' | number;
  /** Largest privacy budget of a plan, of whatever unit; a number declines plans without differential privacy, too. */
  readonly epsilonMax: 'none' | number;
  /** `consortium` demands plans that the consortium signed, or that stand in `approvedPlans` by name. */
  readonly planApproval: 'coordinator' | 'consortium';
  /** Whether losses and evaluation counts of this site may leave it unmasked. */
  readonly discloseMetrics: boolean;
  /** `required` refuses plans whose rounds are not masked. */
  readonly secureAggregation: 'optional' | 'required';
}

/** Why a policy refuses a plan. */
export type PolicyCode =
  | 'plan-not-approved'
  | 'method-not-allowed'
  | 'base-not-allowed'
  | 'cohort-too-small'
  | 'quorum-too-small'
  | 'too-few-examples'
  | 'too-many-rounds'
  | 'too-many-void-rounds'
  | 'metrics-not-disclosed'
  | 'secure-aggregation-required'
  | 'coordinator-trusted'
  | 'ring-not-allowed'
  | 'clip-too-large'
  | 'epsilon-too-large';

/** A refusal: the code of the first rule that is broken, and a sentence about each that is. */
export interface PolicyRefusal {
  readonly code: PolicyCode;
  readonly reason: string;
}

/** What the site knows beside the plan; what is left out is not judged. */
export interface PlanFacts {
  /** Training rows of this site. */
  readonly exampleCount?: number;
  /** Number of the round that is offered. */
  readonly roundIndex?: number;
}

const listOf = <Item>(item: z.ZodMiniType<Item>, what: string): z.ZodMiniType<'any' | readonly Item[]> => {
  const error = `any, or a list of ${what}`;
  return z.union([z.literal('any', { error }), z.array(item, { error })], { error });
};

const rankError = 'none, or a whole number from 1 to 65536';

const ringError = 'any, 16 or 32';
const aboveError = 'none, or a number above 0';

const policySchema = sectionField({
  format: z._default(choiceField(['tributary-policy-1']), 'tributary-policy-1'),
  approvedPlans: z._default(listOf(digestField(), 'plan hashes as "tributary plan check" prints them'), 'any'),
  methods: z._default(listOf(textField(100), 'names of adapter methods'), 'any'),
  baseDigests: z._default(listOf(digestField(), 'base digests as "tributary plan check --base" prints them'), 'any'),
  cohortMin: z._default(wholeField(1, cohortSizeMax), 3),
  quorumMin: z._default(wholeField(1, cohortSizeMax), 3),
  exampleCountMin: z._default(wholeField(1, Number.MAX_SAFE_INTEGER), 1),
  roundsMax: z._default(wholeField(1, Number.MAX_SAFE_INTEGER), 1000),
  voidRoundsMax: z._default(wholeField(0, Number.MAX_SAFE_INTEGER), 100),
  weight: z._default(numberField({ atLeast: 0, atMost: 1 }), 1),
  rankMax: z._default(z.union([z.literal('none'), wholeField(1, 65_536)], { error: rankError }), 'none'),
  organisationsMin: z._default(wholeField(1, cohortSizeMax), 3),
  maskedProfile: z._default(choiceField(['active', 'semi-honest']), 'active'),
  ringBits: z._default(z.union([z.literal('any'), z.literal(16), z.literal(32)], { error: ringError }), 'any'),
  clipNormMax: z._default(z.union([z.literal('none'), numberField({ above: 0 })], { error: aboveError }), 'none'),
  epsilonMax: z._default(z.union([z.literal('none'), numberField({ above: 0 })], { error: aboveError }), 'none'),
  planApproval: z._default(choiceField(['coordinator', 'consortium']), 'coordinator'),
  discloseMetrics: z._default(booleanField(), false),
  secureAggregation: z._default(choiceField(['optional', 'required']), 'optional'),
});

/**
 * Checks a policy and fills in defaults.
 * @throws UsageError `bad-policy` with one line per fault: place, field, what is allowed, what was found.
 */
export function parsePolicy(value: unknown, source: string): Policy {
  const parsed = policySchema.safeParse(value);
  if (!parsed.success) throwProblems('bad-policy', 'the policy', source, describeProblems(parsed.error.issues, value));
  return parsed.data;
}

/** The policy of a site that has written none; what it says stands in the head of this file. */
export const defaultPolicy: Policy = parsePolicy({}, 'the default policy');

/** Whether this site takes part in `plan`, and if not, why. */
export function judgePlan(policy: Policy, plan: Plan, facts: PlanFacts = {}): Result<void, PolicyRefusal> {
  // Of a plan of phases every phase is judged at once: a site that takes part knows what is to come.
  const ahead = plansAhead(documentOfPlan(plan));
  const planHash = documentHashOf(plan);
  const roundCount = roundCountOf(plan);
  // Every phase after the first begins with a number of its own.
  const roundNumbers = roundCount + ahead.length - 1;
  const refusals = new Map<string, PolicyRefusal>();
  for (const one of ahead)
    for (const refusal of refusalsOf(policy, one, { ...facts, planHash, roundCount, roundNumbers }))
      if (!refusals.has(refusal.reason)) refusals.set(refusal.reason, refusal);
  const [first] = refusals.values();
  if (first === undefined) return succeed(undefined);
  return refuse({ code: first.code, reason: [...refusals.keys()].join('; ') });
}

function refusalsOf(
  policy: Policy,
  plan: Plan,
  {
    planHash,
    roundCount,
    roundNumbers,
    roundIndex = 0,
    ...facts
  }: PlanFacts & {
    readonly planHash: Digest;
    readonly roundCount: number;
    readonly roundNumbers: number;
  },
): readonly PolicyRefusal[] {
  const refusals: PolicyRefusal[] = [];
  const demand = (holds: boolean, code: PolicyCode, reason: string): void => {
    if (!holds) refusals.push({ code, reason });
  };
  const { rounds } = plan;
  const masked = isMasked(plan);
  // Where a round has groups, a site is hidden in its group alone.
  const groupSize = groupSizeOf(plan);
  const asked = rounds.cohortSize === 'all' ? rounds.quorum : rounds.cohortSize;
  const cohortFloor = Math.min(asked, groupSize ?? asked);
  const { clientCountMin: updatesMin } = sumSizesOf(plan);
  const where = groupSize === null ? 'round' : 'group of a round';
  demand(
    allows(policy.approvedPlans, planHash),
    'plan-not-approved',
    `plan ${planHash} is not among the approvedPlans of this site`,
  );
  demand(
    allows(policy.methods, plan.adapter.method),
    'method-not-allowed',
    `the plan trains with ${plan.adapter.method}, this site allows the methods ${listed(policy.methods)}`,
  );
  demand(
    allows(policy.baseDigests, plan.base.digest),
    'base-not-allowed',
    `base ${plan.base.digest} is not among the baseDigests of this site`,
  );
  demand(
    cohortFloor >= policy.cohortMin,
    'cohort-too-small',
    `the plan may run a ${where} with ${cohortFloor} clients, this site demands at least ${policy.cohortMin} (cohortMin)`,
  );
  demand(
    updatesMin >= policy.quorumMin,
    'quorum-too-small',
    `the plan publishes ${groupSize === null ? '' : 'the sum of a group '}with ${updatesMin} updates, this site demands at least ${policy.quorumMin} (quorumMin)`,
  );
  demand(
    facts.exampleCount === undefined || facts.exampleCount >= policy.exampleCountMin,
    'too-few-examples',
    `this site has ${facts.exampleCount} training rows and demands at least ${policy.exampleCountMin} (exampleCountMin)`,
  );
  demand(
    roundCount <= policy.roundsMax,
    'too-many-rounds',
    `the plan runs ${roundCount} rounds, this site allows at most ${policy.roundsMax} (roundsMax)`,
  );
  demand(
    roundIndex < roundNumbers + policy.voidRoundsMax,
    'too-many-void-rounds',
    `the plan has ${roundNumbers} round numbers, number ${roundIndex} is offered: this site allows at most ${policy.voidRoundsMax} more than those (voidRoundsMax)`,
  );
  demand(
    policy.discloseMetrics || masked || plan.aggregation.weighting !== 'quality',
    'metrics-not-disclosed',
    'the plan weighs sites by their accuracy, which would leave this site unmasked; it discloses none (discloseMetrics)',
  );
  demand(
    policy.secureAggregation === 'optional' || masked,
    'secure-aggregation-required',
    `the plan's secureAggregation.mode is ${plan.secureAggregation.mode}, this site demands masked rounds (secureAggregation: required)`,
  );
  demand(
    !masked || plan.secureAggregation.profile === 'active' || policy.maskedProfile === 'semi-honest',
    'coordinator-trusted',
    "the plan's masks hold against a coordinator that follows the protocol; this site demands that they hold against any (maskedProfile)",
  );
  const { ringBits } = plan.secureAggregation;
  demand(
    !masked || policy.ringBits === 'any' || policy.ringBits === ringBits,
    'ring-not-allowed',
    `the plan masks in a ring of ${ringBits} bits, this site in one of ${policy.ringBits} (ringBits)`,
  );
  const clipNorm = plan.privacy.unit === 'client' ? plan.privacy.clipNorm : plan.secureAggregation.clipNorm;
  demand(
    !masked || policy.clipNormMax === 'none' || (clipNorm !== 'none' && clipNorm <= policy.clipNormMax),
    'clip-too-large',
    `the plan leaves updates up to the norm ${clipNorm === 'none' ? 'that they have' : clipNorm}, this site at most ${policy.clipNormMax} (clipNormMax)`,
  );
  const { unit, epsilon } = plan.privacy;
  const budget = unit === 'none' ? 'has no differential privacy' : `may spend epsilon ${epsilon}`;
  demand(
    policy.epsilonMax === 'none' || (unit !== 'none' && epsilon <= policy.epsilonMax),
    'epsilon-too-large',
    `the plan ${budget}, this site allows at most epsilon ${policy.epsilonMax} (epsilonMax)`,
  );
  return refusals;
}

function allows<Item>(allowed: 'any' | readonly Item[], item: Item): boolean {
  return allowed === 'any' || allowed.includes(item);
}

function listed(allowed: 'any' | readonly string[]): string {
  return allowed === 'any' ? 'any' : allowed.length === 0 ? 'none at all' : allowed.join(', ');
}
