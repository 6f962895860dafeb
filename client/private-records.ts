/**
 * Training that protects a site's single records, within the plan's budget. What is spent follows from the round's number alone: a client
 * trains at most once per number, so after round r it has trained at most r + 1 times.
 */
import { FederationError, UsageError } from '../shared/core/errors.ts';
import { systemEntropy } from '../shared/crypto/entropy.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { epsilonText } from '../shared/plan/privacy.ts';
import { recordSpendingOf } from '../shared/plan/record-privacy.ts';
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
    onSpent,
  }: {
    readonly plan: Plan;
    readonly roundIndex: number;
    readonly recordCount: number;
    /** Told in a sentence what the site's records will have cost. */
    readonly onSpent: ((sentence: string) => void) | undefined;
  },
): Promise<TrainingResult> {
  const { source, configuration } = options;
  const { epsilon: budget, dpDelta, clipNorm } = plan.privacy;
  if (source.count > recordCount) {
    const sentence = `${recordCount} records of this site make ${source.count} examples, and only single examples are protected`;
    throw new UsageError('bad-plan', `privacy.unit record does not fit the task: ${sentence}; use a larger lengthMax`);
  }
  const { batchSize } = configuration;
  const stepsPerRound = localStepCount(configuration, source.count);
  const spending = recordSpendingOf(plan, { recordCount: source.count, batchSize, stepsPerRound, dpDelta });
  const noiseMultiplier = spending?.noiseMultiplier ?? null;
  const epsilon = spending?.epsilonAfter(roundIndex + 1) ?? Number.POSITIVE_INFINITY;
  if (noiseMultiplier === null || epsilon > budget) {
    const found = `round ${roundIndex} would bring this site's records to epsilon ${epsilonText(epsilon)}, the budget is ${budget}`;
    throw new FederationError('privacy-budget-spent', `the privacy budget is spent: ${found}; nothing was trained`);
  }
  const spent = `epsilon ${epsilonText(epsilon)} of ${budget} at delta ${dpDelta}`;
  onSpent?.(
    `every single record of this site: ${spent} after round ${roundIndex}, noise ${noiseMultiplier}, against everybody else`,
  );
  return trainPrivately({ ...options, privacy: { clipNorm, noiseMultiplier }, random: randomIntegers(systemEntropy) });
}
