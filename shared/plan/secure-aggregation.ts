/** The part `secureAggregation` of a plan: whether rounds are masked, how deltas become integers, what it takes, and what no single field shows. */
import * as z from 'zod/mini';
import { fracBitsMax } from '../secure-aggregation/quantise.ts';
import {
  clientCountFloor,
  completeGraphMax,
  groupedClientsMax,
  groupMembersMax,
  groupSizeMax,
  groupSizeMin,
  type Profile,
  thresholdsOf,
} from '../secure-aggregation/threshold.ts';
import { choiceField, numberField, sectionField, wholeField } from './fields.ts';
import type { Problem } from './problems.ts';

/** How single updates are hidden. */
export interface SecureAggregation {
  /** `auto` masks every round that three clients or more are certain to take part in. */
  readonly mode: 'auto' | 'on' | 'off';
  /** `active`: even a coordinator that deviates sees sums alone; `semi-honest` takes fewer answers and trusts it to follow the protocol. */
  readonly profile: Profile;
  /** Width of an uploaded number: 32, or 16 for half the upload at lower precision. */
  readonly ringBits: 16 | 32;
  /** Largest change of one parameter in one round; what is beyond is cut. */
  readonly coordBound: number;
  /** Largest norm of a delta; `none` leaves it to `coordBound`. */
  readonly clipNorm: 'none' | number;
  /** Largest example count that weighs; more count as many. Up to 65,536 every count is exact. */
  readonly weightMax: number;
  /** Least organisations among whose clients a single one is hidden. */
  readonly organisationsMin: number;
  /** Deadline of every exchange of messages after training. */
  readonly phaseSeconds: number;
  /**
   * Least members of a group: a round is divided into groups, each with a sum of its own. Left out: where a cohort, or the quorum of all, is
   * larger than a complete graph, of as many members as can be.
   */
  readonly groupSize?: number | undefined;
}

const ringError = '16 or 32';
const clipError = 'none, or a number above 0';

/** The section as a schema. */
export const secureAggregationSchema = sectionField({
  mode: z._default(choiceField(['auto', 'on', 'off']), 'auto'),
  profile: z._default(choiceField(['active', 'semi-honest']), 'active'),
  ringBits: z._default(
    z.union([z.literal(16, { error: ringError }), z.literal(32, { error: ringError })], { error: ringError }),
    32,
  ),
  coordBound: z._default(numberField({ above: 0, atMost: 2 ** 20 }), 8),
  clipNorm: z._default(z.union([z.literal('none'), numberField({ above: 0 })], { error: clipError }), 'none'),
  weightMax: z._default(wholeField(1, 2 ** 32 - 1), 65_536),
  organisationsMin: z._default(wholeField(1, completeGraphMax), 1),
  phaseSeconds: z._default(wholeField(1, 24 * 3600), 60),
  groupSize: z.optional(wholeField(groupSizeMin, groupSizeMax)),
});

/** The part of a plan that decides about masks. */
export interface MaskingPlan {
  readonly secureAggregation: SecureAggregation;
  readonly rounds: { readonly cohortSize: number | 'all'; readonly quorum: number };
}

/** Whether the rounds of a plan are masked. */
export function isMasked({ secureAggregation: { mode }, rounds }: MaskingPlan): boolean {
  return mode === 'on' || (mode === 'auto' && rounds.quorum >= clientCountFloor);
}

/** Least members of a group of the rounds of a plan; null where every round is a complete graph. */
export function groupSizeOf(plan: MaskingPlan): number | null {
  const {
    secureAggregation: { groupSize },
    rounds: { cohortSize, quorum },
  } = plan;
  if (!isMasked(plan)) return null;
  if (groupSize !== undefined) return groupSize;
  return (cohortSize === 'all' ? quorum : cohortSize) > completeGraphMax ? groupSizeMax : null;
}

/** Clients that a round asks at most although its plan says all: what a complete graph holds; null where it asks all that are there. */
export function askedOfAll(plan: MaskingPlan): number | null {
  return plan.rounds.cohortSize === 'all' && isMasked(plan) && groupSizeOf(plan) === null ? completeGraphMax : null;
}

/** What the coordinator sees of the updates of a round. */
export function sightOf(plan: MaskingPlan): 'updates' | 'sum' | 'group-sums' {
  if (!isMasked(plan)) return 'updates';
  return groupSizeOf(plan) === null ? 'sum' : 'group-sums';
}

/** Most clients of a masked round. */
export function maskedCohortMax(plan: MaskingPlan): number {
  const { cohortSize } = plan.rounds;
  if (cohortSize !== 'all') return cohortSize;
  return groupSizeOf(plan) === null ? completeGraphMax : groupedClientsMax;
}

/**
 * Sizes of the sums of a plan's masked rounds: most clients of one sum, and fewest with which one opens. A group opens with its threshold,
 * which is the least of all rosters that are as large as a group may be.
 */
export function sumSizesOf(plan: MaskingPlan): { readonly clientCountMin: number; readonly clientCountMax: number } {
  const { quorum } = plan.rounds;
  const size = groupSizeOf(plan);
  if (size === null) return { clientCountMin: quorum, clientCountMax: maskedCohortMax(plan) };
  return sumSizesOfGroups(size, quorum, plan.secureAggregation.profile);
}

/** The same of groups of at least `size` members in rounds of at least `quorum` clients. */
export function sumSizesOfGroups(size: number, quorum: number, profile: Profile) {
  const clientCountMin = Math.max(clientCountFloor, Math.min(quorum, thresholdsOf(size, profile).shares));
  return { clientCountMin, clientCountMax: groupMembersMax(size) };
}

/** What no single field of the section shows. */
export function crossCheckMasking(
  plan: MaskingPlan & {
    readonly task: { readonly kind: string };
    readonly aggregation: { readonly weighting: string; readonly head: string };
  },
): Problem[] {
  const { secureAggregation, rounds } = plan;
  if (!isMasked(plan)) return [];
  const problems: Problem[] = [];
  const demand = (path: string, sentence: string): void => void problems.push({ path, sentence });
  if (rounds.quorum < clientCountFloor) {
    const found = `found ${rounds.quorum}; with fewer than ${clientCountFloor} updates their sum hides nobody`;
    demand('rounds.quorum', `must be at least ${clientCountFloor} with masked rounds, ${found}`);
  }
  const { clientCountMax } = sumSizesOf(plan);
  if (rounds.quorum > groupedClientsMax) {
    const why = `a masked round has no more clients; or set secureAggregation.mode to off, and the coordinator can read every single delta`;
    demand('rounds.quorum', `must be at most ${groupedClientsMax}, found ${rounds.quorum}: ${why}`);
  } else if (maskedCohortMax(plan) > groupedClientsMax) {
    const instead = 'set secureAggregation.mode to off, and the coordinator can read every single delta';
    demand(
      'rounds.cohortSize',
      `must be at most ${groupedClientsMax} with masked rounds, found ${rounds.cohortSize}; or ${instead}`,
    );
  } else if (fracBitsMax(secureAggregation, clientCountMax) === null) {
    const { ringBits, coordBound } = secureAggregation;
    const sum = `the sum of ${clientCountMax} clients with changes up to ${coordBound}`;
    demand('secureAggregation.coordBound', `must be smaller, or ringBits larger: ${sum} does not fit ${ringBits} bits`);
  }
  const shares = sharesSentBy(plan);
  if (shares !== null && secureAggregation.coordBound < 1) {
    const why = `shares from 0 to 1 travel beside the changes, and masks would cut them; or leave out ${shares}`;
    demand('secureAggregation.coordBound', `must be at least 1, found ${secureAggregation.coordBound}: ${why}`);
  }
  return problems;
}

/** The field for which clients send shares of themselves, or null. */
function sharesSentBy({
  task,
  aggregation: { weighting, head },
}: Pick<Parameters<typeof crossCheckMasking>[0], 'task' | 'aggregation'>): string | null {
  if (head === 'by-label') return 'aggregation.head by-label';
  if (weighting === 'given' || weighting === 'quality') return `aggregation.weighting ${weighting}`;
  return task.kind === 'several' ? 'all but one of task.tasks' : null;
}

/** What a plan's masks promise, for people: how many may vanish, and among how many a single client is hidden. */
export function describeMasking(plan: MaskingPlan): string {
  const { rounds, secureAggregation } = plan;
  if (!isMasked(plan)) {
    const two = secureAggregation.mode === 'auto' ? ` because ${rounds.quorum} updates are enough for a round;` : ':';
    return `secure aggregation is off${two} the coordinator can read every single delta`;
  }
  const groupSize = groupSizeOf(plan);
  const most = groupSize === null ? rounds.cohortSize : groupMembersMax(groupSize);
  const fewest = groupSize ?? rounds.quorum;
  const counts = most === 'all' ? [fewest] : [...new Set([fewest, most])];
  const sizes = counts.map((clientCount) => {
    const { vanishedMax, colludersMax, shares } = thresholdsOf(clientCount, secureAggregation.profile);
    const survivors = groupSize === null ? Math.max(shares, rounds.quorum) : shares;
    const vanish = Math.min(vanishedMax, clientCount - survivors);
    const honest = survivors - Math.min(colludersMax, survivors - 1);
    return `of ${clientCount} clients ${vanish} may vanish, each is hidden among at least ${honest} honest ones if ${colludersMax} collude`;
  });
  const adversary = secureAggregation.profile === 'active' ? '' : ' that follows the protocol';
  const whose = groupSize === null ? 'sums alone' : `the sums of groups of ${fewest} to ${most} alone`;
  const left = groupSize === null ? '' : '; a group that more leave is left out, and the round goes on';
  const uncertified =
    secureAggregation.profile === 'active'
      ? '; where no consortium certifies the clients, this holds against an honest-but-curious coordinator'
      : '';
  return `masked rounds: a coordinator${adversary} sees ${whose}; ${sizes.join('; ')}${left}${uncertified}`;
}
