/**
 * Training that protects a site's single records, within the plan's budget. What is spent follows from the round's number, and from what was charged
 * before, where the site had other records then: a client trains at most once per number, so after round r it has trained at most r + 1 times.
 */
import { FederationError, UsageError } from '../shared/core/errors.ts';
import { systemEntropy } from '../shared/crypto/entropy.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { epsilonText } from '../shared/plan/privacy.ts';
import { type RecordCharge, recordSpendingOf } from '../shared/plan/record-privacy.ts';
import { randomIntegers } from '../shared/privacy/random-integers.ts';
import { localStepCount, type TrainingOptions, type TrainingResult } from '../shared/training/train.ts';
import { trainPrivately } from '../shared/training/train-privately.ts';

/**
 * Trains a round privately. @throws FederationError `privacy-budget-spent` before anything is trained that the budget does not pay; UsageError
 * `bad-plan` where a record is more than one example.
 */
export async function trainOnRecords(
  options: TrainingOptions,
  {
    plan,
    roundIndex,
    recordCount,
    charges = [],
    onSpent,
  }: {
    readonly plan: Plan;
    readonly roundIndex: number;
    readonly recordCount: number;
    /** What these records, or those before them, were charged in earlier rounds. */
    readonly charges?: readonly RecordCharge[] | undefined;
    /** Told in a sentence what the site's records will have cost. */
    readonly onSpent: ((sentence: string) => void) | undefined;
  },
): Promise<TrainingResult & { readonly charges: readonly RecordCharge[] }> {
  const { source, configuration } = options;
  const { epsilon: budget, dpDelta, clipNorm } = plan.privacy;
  if (source.count > recordCount) {
    const sentence = `${recordCount} records of this site make ${source.count} examples, and only single examples are protected`;
    throw new UsageError('bad-plan', `privacy.unit record does not fit the task: ${sentence}; use a larger lengthMax`);
  }
  const { batchSize } = configuration;
  const stepsPerRound = localStepCount(configuration, source.count);
  const mechanism = { recordCount: source.count, batchSize, stepsPerRound, dpDelta };
  const spending = recordSpendingOf(plan, mechanism, charges);
  const epsilon = spending?.epsilonAfter(roundIndex + 1) ?? Number.POSITIVE_INFINITY;
  if (spending === null || epsilon > budget) {
    const found =
      spending === null
        ? `no noise on ${source.count} records is enough for what is left of ${budget} in round ${roundIndex}`
        : `round ${roundIndex} would bring this site's records to epsilon ${epsilonText(epsilon)}, the budget is ${budget}`;
    throw new FederationError('privacy-budget-spent', `the privacy budget is spent: ${found}; nothing was trained`);
  }
  const { noiseMultiplier } = spending;
  const spent = `epsilon ${epsilonText(epsilon)} of ${budget} at delta ${dpDelta}`;
  onSpent?.(
    `every single record of this site: ${spent} after round ${roundIndex}, noise ${noiseMultiplier}, against everybody else`,
  );
  const privacy = { clipNorm, noiseMultiplier };
  const trained = await trainPrivately({ ...options, privacy, random: randomIntegers(systemEntropy) });
  return { ...trained, charges: spending.chargesAfter(roundIndex + 1) };
}
