/** The part of a plan that the round machine follows. */
import type { Plan } from '../../shared/plan/plan.ts';
import type { RoundSettings } from './state.ts';

/** Settings of the machine, in milliseconds. */
export function settingsOf({ rounds, evaluation, training }: Plan): RoundSettings {
  return {
    roundCount: rounds.count,
    cohortSize: rounds.cohortSize === 'all' ? null : rounds.cohortSize,
    quorum: rounds.quorum,
    recruitMs: rounds.recruitSeconds * 1000,
    trainMs: rounds.trainSeconds * 1000,
    evaluateMs: rounds.evaluateSeconds * 1000,
    evaluateEvery: evaluation.everyRounds,
    waitMs: rounds.waitSeconds * 1000,
    voidsMax: rounds.voidsMax,
    seed: training.seed,
  };
}
