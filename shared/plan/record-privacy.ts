/** What a site's own noise costs its records under a plan: over its rounds, or over the round numbers of all its phases. */
import { type RecordMechanism, recordEpsilon, recordRdp } from '../privacy/record-accounting.ts';
import { leastNoise } from '../privacy/sizing.ts';
import type { SpendingPlan } from './privacy.ts';
import { noiseWithinShare, numberShareOf } from './privacy-share.ts';

/** The noise of a site, and what round numbers cost its records. */
export interface RecordSpending {
  readonly noiseMultiplier: number;
  /** ε after so many round numbers. */
  epsilonAfter(numberCount: number): number;
}

/** What protecting the records of a site costs; null where no noise is enough for the budget. */
export function recordSpendingOf(
  plan: Pick<SpendingPlan, 'privacy' | 'rounds' | 'phases'>,
  mechanism: RecordMechanism,
): RecordSpending | null {
  const { privacy, rounds, phases } = plan;
  if (phases === undefined) {
    const noiseMultiplier =
      privacy.noiseMultiplier ?? leastNoise((noise) => recordEpsilon(mechanism, noise, rounds.count), privacy.epsilon);
    if (noiseMultiplier === null) return null;
    return { noiseMultiplier, epsilonAfter: (count) => recordEpsilon(mechanism, noiseMultiplier, count) };
  }
  const share = numberShareOf(plan);
  if (share === null) return null;
  const noiseMultiplier = noiseWithinShare(share, (noise) => recordRdp(mechanism, noise), share.lastOrder);
  return noiseMultiplier === null ? null : { noiseMultiplier, epsilonAfter: share.epsilonAfterSampled };
}
