/**
 * The part `privacy` of a plan: whose data differential privacy protects, by which noise, and how much may be spent. A round is charged with its
 * number, which is durable before the round is offered and never used twice: so void rounds are charged, too, and nothing is ever published
 * that was not charged before. Where the next round would exceed the budget the federation stops.
 */
import * as z from 'zod/mini';
import type { AdaptiveClip } from '../privacy/adaptive-clip.ts';
import { distributedTerms, indicatorTermsOf, indicatorUnit } from '../privacy/distributed-noise.ts';
import { epsilonOfRdp } from '../privacy/rdp-accountant.ts';
import { affordable, leastNoise } from '../privacy/sizing.ts';
import { skellamRdp, wholeOrders } from '../privacy/skellam-accountant.ts';
import { choiceField, numberField, sectionField } from './fields.ts';
import { noiseWithinShare, numberShareOf } from './privacy-share.ts';
import type { Problem } from './problems.ts';
import { groupSizeOf, type SecureAggregation, sumSizesOf } from './secure-aggregation.ts';

/** What is protected, and how. */
export interface Privacy {
  /** `client`: all that one client has; `record`: every single record of a site, by noise that the site adds itself. */
  readonly unit: 'none' | 'client' | 'record';
  /** Of unit `client`: noise that the coordinator adds (`central`), or that clients add inside a masked sum (`distributed`). */
  readonly mechanism: 'central' | 'distributed';
  /** Largest norm of an update; of unit `record`, of the gradient of one record. */
  readonly clipNorm: number;
  /**
   * `clipNorm` is that of the first round, and follows a quantile of the norms of updates from then on. With central noise `noiseMultiplier` is that of
   * update and quantile together, with distributed noise that of the update; what both cost is charged.
   */
  readonly adaptive?: AdaptiveClip | undefined;
  /**
   * Deviation of the noise in multiples of `clipNorm`; left out: the least with which all rounds stay within `epsilon`. In a plan of phases that of
   * the Gaussian mechanism whose cost a round number of any phase has; distributed noise is a little more.
   */
  readonly noiseMultiplier?: number | undefined;
  /** Budget: the largest ε. */
  readonly epsilon: number;
  readonly dpDelta: number;
}

/** The section as a schema. */
export const privacySchema = sectionField({
  unit: z._default(choiceField(['none', 'client', 'record']), 'none'),
  mechanism: z._default(choiceField(['central', 'distributed']), 'central'),
  clipNorm: z._default(numberField({ above: 0, atMost: 1e6 }), 1),
  adaptive: z.optional(
    sectionField({
      quantile: z._default(numberField({ above: 0, below: 1 }), 0.5),
      learningRate: z._default(numberField({ above: 0, atMost: 10 }), 0.2),
    }),
  ),
  noiseMultiplier: z.optional(numberField({ atLeast: 1e-2, atMost: 1e4 })),
  epsilon: z._default(numberField({ above: 0, atMost: 1000 }), 8),
  dpDelta: z._default(numberField({ above: 0, below: 1 }), 1e-5),
});

/** What no single field of the section shows. `given`: the section as it was written, before defaults. */
export function crossCheckPrivacy(plan: SpendingPlan, given: unknown): Problem[] {
  const { unit, mechanism, adaptive } = plan.privacy;
  const problems: Problem[] = [];
  const demand = (path: string, sentence: string): void => void problems.push({ path: `privacy.${path}`, sentence });
  const fields = typeof given === 'object' && given !== null ? Object.keys(given) : [];
  if (fields.length > 0 && !fields.includes('unit')) {
    const why = `without it ${fields.join(', ')} would protect nobody; write none to say that`;
    demand('unit', `must be given, client or record, beside the other fields of the section, found nothing: ${why}`);
  }
  if (unit !== 'client' && mechanism === 'distributed') {
    const why = unit === 'record' ? 'every site adds its own noise to its own gradients' : 'there is no noise';
    demand(
      'mechanism',
      `must be left out with unit ${unit}, found distributed: ${why}; set privacy.unit to client for it`,
    );
  }
  if (adaptive !== undefined && (unit !== 'client' || (mechanism === 'distributed' && groupSizeOf(plan) !== null))) {
    const why =
      unit === 'client'
        ? 'every group of a masked round would count for itself; a fixed clipNorm is the nearest, or a cohort without groups'
        : `it bounds whole updates, which unit ${unit} does not`;
    demand('adaptive', `must be left out: ${why}`);
  }
  return unit === 'client' ? [...problems, ...crossCheckBudget(plan)] : problems;
}

/** Budgets that pay no round, by the noise of the coordinator: that of clients costs a little more. */
function crossCheckBudget({ privacy, rounds, secureAggregation }: SpendingPlan): Problem[] {
  const { epsilon, dpDelta, noiseMultiplier } = privacy;
  const central = { privacy: { ...privacy, mechanism: 'central' as const }, rounds, secureAggregation };
  const spending = spendingOf(central, usualDim);
  if (spending === null) {
    const why = `no noise is enough for ${rounds.count} rounds at delta ${dpDelta}; fewer rounds cost less`;
    return [{ path: 'privacy.epsilon', sentence: `must be larger, found ${epsilon}: ${why}` }];
  }
  if (spending.roundsMax > 0) return [];
  const why = `the first round alone costs epsilon ${epsilonText(spending.epsilonAfter(1))} of ${epsilon}`;
  const next = 'left out, it is the least with which all rounds stay within the budget';
  return [{ path: 'privacy.noiseMultiplier', sentence: `must be larger, found ${noiseMultiplier}: ${why}; ${next}` }];
}

/** The parts of a plan that decide what privacy costs. */
export interface SpendingPlan {
  readonly privacy: Privacy;
  readonly rounds: { readonly count: number; readonly cohortSize: number | 'all'; readonly quorum: number };
  readonly secureAggregation: SecureAggregation;
  /** Of a plan of phases, and of the plan of one of them. */
  readonly phases?: readonly {
    readonly name: string;
    readonly rounds: { readonly count: number; readonly quorum: number };
  }[];
}

/** What the rounds of a plan cost. */
export interface Spending {
  readonly noiseMultiplier: number;
  /** ε after so many rounds. */
  epsilonAfter(roundCount: number): number;
  /** Rounds that the budget pays. */
  readonly roundsMax: number;
}

/** Rounds beyond which no budget is computed: more than plans may have. */
const roundsMost = 200_000;

/** What protecting clients costs with uploads `[dim]`; null where the plan does not protect them, or no noise is enough for its budget. */
export function spendingOf(plan: SpendingPlan, dim: number): Spending | null {
  const { privacy, rounds } = plan;
  if (privacy.unit !== 'client') return null;
  if (plan.phases !== undefined) return spendingOfPhase(plan, dim);
  const epsilonOf = (noiseMultiplier: number, roundCount: number): number => {
    if (roundCount === 0) return 0;
    const rdp = releaseRdp(plan, dim, noiseMultiplier);
    return rdp === null
      ? Number.POSITIVE_INFINITY
      : epsilonOfRdp((order) => roundCount * rdp(order), privacy.dpDelta, wholeOrders).epsilon;
  };
  const noiseMultiplier =
    privacy.noiseMultiplier ?? leastNoise((noise) => epsilonOf(noise, rounds.count), privacy.epsilon);
  if (noiseMultiplier === null) return null;
  const rdp = (roundCount: number): number => epsilonOf(noiseMultiplier, roundCount);
  return { noiseMultiplier, epsilonAfter: rdp, roundsMax: affordable(rdp, privacy.epsilon, roundsMost) };
}

/** What a phase with uploads `[dim]` takes for its noise, and what the numbers of all phases cost. */
function spendingOfPhase(plan: SpendingPlan, dim: number): Spending | null {
  const share = numberShareOf(plan);
  if (share === null) return null;
  const { epsilonAfter, gaussian } = share;
  const noiseMultiplier =
    plan.privacy.mechanism === 'central' ? gaussian : noiseWithinShare(share, (noise) => releaseRdp(plan, dim, noise));
  if (noiseMultiplier === null) return null;
  return { noiseMultiplier, epsilonAfter, roundsMax: affordable(epsilonAfter, plan.privacy.epsilon, roundsMost) };
}

/** Rényi divergence of one round by order; null where noise and ring do not fit. */
function releaseRdp(plan: SpendingPlan, dim: number, noiseMultiplier: number): ((order: number) => number) | null {
  // The discrete Gaussian costs at most what the Gaussian costs.
  if (plan.privacy.mechanism === 'central') return (order) => order / (2 * noiseMultiplier ** 2);
  const terms = distributedTerms(distributedSettingsOf(plan, dim, noiseMultiplier));
  if (terms === null) return null;
  const update = (order: number): number => skellamRdp(terms.sensitivity, terms.varianceMin, order);
  if (plan.privacy.adaptive === undefined) return update;
  const { varianceMin } = indicatorTermsOf(distributedSettingsOf(plan, dim, noiseMultiplier));
  const half = indicatorUnit / 2;
  return (order) => update(order) + skellamRdp({ l2: half, l1: half }, varianceMin, order);
}

/** What {@link distributedTerms} needs of a plan. */
export function distributedSettingsOf(plan: SpendingPlan, dim: number, noiseMultiplier: number) {
  const { ringBits, profile } = plan.secureAggregation;
  // Where there are groups, each sum is seen for itself.
  return { ringBits, dim, clipNorm: plan.privacy.clipNorm, noiseMultiplier, ...sumSizesOf(plan), profile };
}

/** Clients below which protecting a client costs most of what is learned. */
const fewClients = 50;

const shortNumber = (value: number): string => String(Number(value.toPrecision(4)));

/** ε for people: four digits, never below what was spent. */
export function epsilonText(epsilon: number): string {
  const nearest = Number(epsilon.toPrecision(4));
  if (!Number.isFinite(epsilon) || nearest >= epsilon) return String(nearest);
  const digit = 10 ** (Math.floor(Math.log10(epsilon)) - 3);
  return String(Number((nearest + digit).toPrecision(4)));
}

/** What a version of round `roundIndex` promises beside masks, for its signed record; null where nothing but them protects anybody. */
export function spentStatement(plan: SpendingPlan, dim: number, roundIndex: number): string | null {
  const { unit, mechanism, epsilon, dpDelta, clipNorm, adaptive } = plan.privacy;
  if (unit === 'none') return null;
  if (unit === 'record') {
    const holds = 'against everybody outside a site, the coordinator included, as long as that site adds its noise';
    const own = `each site's own epsilon depends on its number of records, stands in its log, and is at most ${epsilon}`;
    return `every single record, at delta ${dpDelta}: ${own}; ${holds}; how many records a site has and what it counts on held-out rows are not protected`;
  }
  const spending = spendingOf(plan, dim);
  if (spending === null) return null;
  const spent = epsilonText(spending.epsilonAfter(roundIndex + 1));
  const against =
    mechanism === 'central'
      ? 'against everybody who sees versions; trusts the coordinator, which adds the noise and could read every update'
      : `against everybody, the coordinator included, as long as fewer than a third of the clients of a ${groupSizeOf(plan) === null ? 'round' : 'group'} collude with it`;
  const few =
    plan.rounds.quorum < fewClients
      ? `; with fewer than ${fewClients} clients noise may hide most of what is learned`
      : '';
  return `all that one client has: epsilon ${spent} of ${epsilon} at delta ${dpDelta}, ${mechanism} noise of ${shortNumber(spending.noiseMultiplier)} times ${adaptive === undefined ? `the clip norm ${clipNorm}` : 'a clip norm that follows the updates, which is charged too'}, ${against}; who takes part, example counts and metrics are not protected${few}`;
}

/** A vector size for what a plan alone can say. */
const usualDim = 100_000;

/** What a plan spends, for people; a line each. */
export function describePrivacy(plan: SpendingPlan): string[] {
  const { unit, mechanism, epsilon, dpDelta } = plan.privacy;
  if (plan.phases !== undefined && unit !== 'none') return describeNoise(plan);
  if (unit === 'none') return ['no differential privacy: versions may give away what single clients have'];
  if (unit === 'record')
    return [
      `every single record of a site, by noise of the site: each site spends at most epsilon ${epsilon} at delta ${dpDelta}, by its number of records`,
    ];
  const spending = spendingOf(plan, usualDim);
  if (spending === null) return [`no noise is enough for epsilon ${epsilon} at delta ${dpDelta}`];
  const { roundsMax, epsilonAfter, noiseMultiplier } = spending;
  const marks = [...new Set([1, Math.ceil(plan.rounds.count / 2), plan.rounds.count])].filter(
    (count) => count <= roundsMax,
  );
  const spent = marks.map((count) => `${epsilonText(epsilonAfter(count))} after ${count}`).join(', ');
  const end =
    roundsMax < plan.rounds.count
      ? `the budget ends after ${roundsMax} of ${plan.rounds.count} rounds`
      : `the budget pays ${roundsMax} rounds, void ones included`;
  const trust = mechanism === 'central' ? 'trusts the coordinator' : 'also against the coordinator';
  const lines = [
    `all that one client has: ${mechanism} noise of ${shortNumber(noiseMultiplier)} times the clip norm, ${trust}; epsilon ${spent} at delta ${dpDelta}; ${end}`,
  ];
  return [...lines, ...fewClientsWarning([plan.rounds.quorum], unit)];
}

function fewClientsWarning(quorums: readonly number[], unit: Privacy['unit']): string[] {
  if (unit !== 'client' || Math.min(...quorums) >= fewClients) return [];
  return [
    `warning: with fewer than ${fewClients} clients, noise that protects one of them may hide most of what is learned`,
  ];
}

/** The noise of a phase: what it costs stands with that of all phases. */
function describeNoise(plan: SpendingPlan): string[] {
  const { unit, mechanism, clipNorm, epsilon } = plan.privacy;
  if (unit === 'record') return ['every single record of a site, by noise of the site within its share of the budget'];
  const spending = spendingOf(plan, usualDim);
  if (spending === null) return [`no noise is enough for epsilon ${epsilon}`];
  return [
    `${mechanism} noise of ${shortNumber(spending.noiseMultiplier)} times the clip norm, which begins with ${clipNorm}`,
  ];
}

/** What the phases of a plan spend, one by one and in all, for people; none without phases or without noise. */
export function describePhasesPrivacy(plan: SpendingPlan): string[] {
  const { phases = [] } = plan;
  const { unit, mechanism, epsilon, dpDelta } = plan.privacy;
  const share = phases.length === 0 || unit === 'none' ? null : numberShareOf(plan);
  if (share === null) return [];
  const after = unit === 'record' ? share.epsilonAfterSampled : share.epsilonAfter;
  let used = 0;
  const lines = phases.map(({ name, rounds }, index) => {
    const before = used;
    // A phase after the first begins with a number of its own.
    used += rounds.count + (index === 0 ? 0 : 1);
    const added = after(used) - after(before);
    return `${name}: adds epsilon ${epsilonText(added)}, ${epsilonText(after(used))} after its ${used - before} round numbers`;
  });
  const paid = affordable(after, epsilon, roundsMost);
  const end =
    paid < used ? `the budget ends after ${paid} of ${used} round numbers` : `the budget pays ${paid} round numbers`;
  const whom =
    unit === 'record'
      ? 'every single record of a site, by its own noise'
      : `all that one client has, ${mechanism === 'central' ? 'trusts the coordinator' : 'also against the coordinator'}`;
  const most = unit === 'record' ? 'at most ' : '';
  return [
    ...lines,
    `in all ${most}epsilon ${epsilonText(after(used))} of ${epsilon} at delta ${dpDelta}, ${whom}; ${end}, void ones included`,
    ...fewClientsWarning(
      phases.map(({ rounds }) => rounds.quorum),
      unit,
    ),
  ];
}

/** What a version promises to whom, read from its signed record. */
export interface SpentPrivacy {
  readonly unit: 'none' | 'client' | 'record';
  /** ε after its round, all rounds before included; null where every site has its own. */
  readonly epsilon: number | null;
  /** The largest ε that the plan allows. */
  readonly budget: number | null;
  readonly dpDelta: number | null;
  readonly against: string;
}

/** Reads the sentences of {@link spentStatement}; what is none of them promises nothing. */
export function readStatement(statement: string): SpentPrivacy {
  const client =
    /all that one client has: epsilon ([\d.e+-]+) of ([\d.e+-]+) at delta ([\d.e+-]+), .*?, (against everybody[^;]*(?:; trusts the coordinator[^;]*)?)/.exec(
      statement,
    );
  if (client !== null) {
    const [, epsilon, budget, dpDelta, against] = client;
    return {
      unit: 'client',
      epsilon: Number(epsilon),
      budget: Number(budget),
      dpDelta: Number(dpDelta),
      against: against!,
    };
  }
  const record = /every single record, at delta ([\d.e+-]+): .* is at most ([\d.e+-]+); (against everybody[^;]*)/.exec(
    statement,
  );
  if (record === null) return { unit: 'none', epsilon: null, budget: null, dpDelta: null, against: 'nobody' };
  const [, dpDelta, budget, against] = record;
  return { unit: 'record', epsilon: null, budget: Number(budget), dpDelta: Number(dpDelta), against: against! };
}
