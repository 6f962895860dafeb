/** Judges a candidate by its metric and that of the version which it would replace. Pure: who measured is of no matter here. */
import type { Canary } from '../../shared/plan/canary.ts';
import { metricFacts, metricText } from '../../shared/training/metrics.ts';

/** What was measured; null where nobody could. */
export interface Measured {
  readonly candidate: number | null;
  /** Of the version in effect. */
  readonly before: number | null;
}

/** Why a candidate is not published, or null. What nobody measured does not pass. */
export function judgeCandidate(
  { metric, drop, least }: Pick<Canary, 'metric' | 'drop' | 'least'>,
  { candidate, before }: Measured,
): string | null {
  const { title, higherIsBetter } = metricFacts[metric];
  if (candidate === null || !Number.isFinite(candidate)) return `nobody could measure the ${title} of the candidate`;
  const worse = (value: number): number => (higherIsBetter ? value - candidate : candidate - value);
  const found = `the ${title} of the candidate is ${metricText(metric, candidate)}`;
  if (least !== undefined && worse(least) > 0)
    return `${found}, the plan demands ${higherIsBetter ? 'at least' : 'at most'} ${metricText(metric, least)}`;
  if (before === null || worse(before) <= drop) return null;
  return `${found}, that of the version before ${metricText(metric, before)}: worse by more than the ${metricText(metric, drop)} that the plan allows`;
}
