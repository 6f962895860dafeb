/** The part of a plan that the round machine follows. */
import type { Plan } from '../../shared/plan/plan.ts';
import { spendingOf } from '../../shared/plan/privacy.ts';
import { isMasked, maskedCohortMax } from '../../shared/plan/secure-aggregation.ts';
import type { RoundSettings } from './state.ts';

/** Settings of the machine, in milliseconds, for uploads `[uploadedDim]`. */
export function settingsOf(plan: Plan, uploadedDim: number): RoundSettings {
  const { rounds, evaluation, training, secureAggregation, canary } = plan;
  const masked = isMasked(plan);
  return {
    roundCount: rounds.count,
    cohortSize: masked ? maskedCohortMax(plan) : rounds.cohortSize === 'all' ? null : rounds.cohortSize,
    quorum: rounds.quorum,
    recruitMs: rounds.recruitSeconds * 1000,
    trainMs: rounds.trainSeconds * 1000,
    evaluateMs: rounds.evaluateSeconds * 1000,
    isMasked: masked,
    maskMs: secureAggregation.phaseSeconds * 1000,
    // The gate needs every candidate measured.
    evaluateEvery: canary.by === 'clients' ? 1 : evaluation.everyRounds,
    waitMs: rounds.waitSeconds * 1000,
    voidsMax: rounds.voidsMax,
    refusalsMax: canary.failuresMax,
    seed: training.seed,
    ...(plan.privacy.unit === 'client' ? { budgetRounds: spendingOf(plan, uploadedDim)?.roundsMax ?? 0 } : {}),
  };
}
