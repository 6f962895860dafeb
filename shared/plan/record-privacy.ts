/**
 * What a site's own noise costs its records under a plan: over its rounds, or over the round numbers of all its phases. A site may change its
 * records between two rounds, and with them the rate at which each is drawn; what it was charged before goes on counting.
 */
import { epsilonOfRdp } from '../privacy/rdp-accountant.ts';
import { type RecordMechanism, recordRdp } from '../privacy/record-accounting.ts';
import { leastNoise } from '../privacy/sizing.ts';
import { wholeOrders } from '../privacy/skellam-accountant.ts';
import type { SpendingPlan } from './privacy.ts';
import { noiseWithinShare, numberShareOf } from './privacy-share.ts';

/** Round numbers that a site is charged for, one after the other, on as many records, in as many steps, with as much noise. */
export interface RecordCharge extends Pick<RecordMechanism, 'recordCount' | 'stepsPerRound'> {
  readonly noiseMultiplier: number;
  readonly numbers: number;
}

/** The noise of a site, and what round numbers cost its records. */
export interface RecordSpending {
  readonly noiseMultiplier: number;
  /** ε after so many round numbers, those before included. */
  epsilonAfter(numberCount: number): number;
  /** What the site is charged with once it trained in the last of so many round numbers. */
  chargesAfter(numberCount: number): readonly RecordCharge[];
}

/** What protecting the records of a site costs that was charged `charges` before; null where no noise is enough for the budget. */
export function recordSpendingOf(
  plan: Pick<SpendingPlan, 'privacy' | 'rounds' | 'phases'>,
  mechanism: RecordMechanism,
  charges: readonly RecordCharge[] = [],
): RecordSpending | null {
  return plan.phases === undefined ? spendingOfCharges(plan, mechanism, charges) : spendingOfShare(plan, mechanism);
}

function spendingOfCharges(
  { privacy, rounds }: Pick<SpendingPlan, 'privacy' | 'rounds'>,
  mechanism: RecordMechanism,
  charges: readonly RecordCharge[],
): RecordSpending | null {
  const { recordCount, stepsPerRound, batchSize, dpDelta } = mechanism;
  const last = charges.at(-1);
  const isSame = last?.recordCount === recordCount && last.stepsPerRound === stepsPerRound;
  const earlier = isSame ? charges.slice(0, -1) : charges;
  const usedBefore = earlier.reduce((sum, { numbers }) => sum + numbers, 0);
  const curves = earlier.map(({ numbers, noiseMultiplier, ...own }) => {
    const curve = recordRdp({ ...own, batchSize }, noiseMultiplier);
    return (order: number): number => numbers * curve(order);
  });
  // Asked again for every noise that is tried.
  const spentBefore = new Map(
    wholeOrders.map((order) => [order, curves.reduce((sum, curve) => sum + curve(order), 0)]),
  );
  /** Numbers that these records had; a number that is repeated with others counts for both. */
  const ownAfter = (count: number): number => Math.max(isSame ? last.numbers : 1, count - usedBefore);
  const epsilonOf = (noiseMultiplier: number, count: number): number => {
    if (count === 0) return 0;
    const own = recordRdp(mechanism, noiseMultiplier);
    const all = (order: number): number => spentBefore.get(order)! + ownAfter(count) * own(order);
    return epsilonOfRdp(all, dpDelta, wholeOrders).epsilon;
  };
  const before = isSame ? last.noiseMultiplier : undefined;
  const noiseMultiplier =
    privacy.noiseMultiplier ?? before ?? leastNoise((noise) => epsilonOf(noise, rounds.count), privacy.epsilon);
  if (noiseMultiplier === null) return null;
  return {
    noiseMultiplier,
    epsilonAfter: (count) => epsilonOf(noiseMultiplier, count),
    chargesAfter: (count) => [...earlier, { recordCount, stepsPerRound, noiseMultiplier, numbers: ownAfter(count) }],
  };
}

/** In a plan of phases every number costs the same whatever records it has: there is nothing to remember. */
function spendingOfShare(
  plan: Pick<SpendingPlan, 'privacy' | 'rounds' | 'phases'>,
  mechanism: RecordMechanism,
): RecordSpending | null {
  const share = numberShareOf(plan);
  if (share === null) return null;
  const noiseMultiplier = noiseWithinShare(share, (noise) => recordRdp(mechanism, noise), share.lastOrder);
  if (noiseMultiplier === null) return null;
  return { noiseMultiplier, epsilonAfter: share.epsilonAfterSampled, chargesAfter: () => [] };
}
