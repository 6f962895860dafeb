/** Learning-rate schedules as functions from the step to a factor in [0, 1]. */
import { assert } from '../core/assert.ts';
import type { ScheduleName } from './configuration.ts';

/** A factor for the learning rate of step `step`, counted from 0. */
export type Schedule = (step: number) => number;

/** What {@link scheduleOf} needs. */
export interface ScheduleOptions {
  readonly name: ScheduleName;
  /** Share of the steps that warm up, in [0, 1). */
  readonly warmupFraction: number;
  /** Steps that warm up, in place of their share. */
  readonly warmupSteps?: number | undefined;
  /** All steps of the schedule: for a federation, those of all rounds. */
  readonly stepCount: number;
}

/**
 * Linear warm-up to 1, then constant, linear decay, or half a cosine (Loshchilov and Hutter 2017, equation 5, without restarts). The first step
 * is never 0 and the last one is small but above 0, so no step is wasted: warm-up step s of w has factor (s + 1) / w, and decay step s
 * of d has the decay's value at s / d.
 */
export function scheduleOf({ name, warmupFraction, warmupSteps, stepCount }: ScheduleOptions): Schedule {
  assert(stepCount >= 1, `a schedule needs at least one step, found ${stepCount}`);
  assert(warmupFraction >= 0 && warmupFraction < 1, `the warm-up fraction ${warmupFraction} is not in [0, 1)`);
  const warmupCount = warmupSteps ?? Math.round(warmupFraction * stepCount);
  const decayCount = Math.max(1, stepCount - warmupCount);
  return (step) => {
    if (step < warmupCount) return (step + 1) / warmupCount;
    const progress = Math.min(1, (step - warmupCount) / decayCount);
    switch (name) {
      case 'constant':
        return 1;
      case 'linear':
        return 1 - progress;
      case 'cosine':
        return 0.5 * (1 + Math.cos(Math.PI * progress));
      default:
        return name satisfies never;
    }
  };
}
