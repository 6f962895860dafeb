/** Poisson sampling: every record joins by a coin of its own, which is what the accountants of sampled mechanisms assume. */
import { assert } from '../core/assert.ts';
import type { RandomIntegers } from './random-integers.ts';

/** A rate as coins take it: 2^-32 is the smallest step, rounded up, which is what is accounted for. */
export function sampledRate(rate: number): number {
  assert(rate > 0 && rate <= 1, `a sampling rate is above 0 and at most 1, found ${rate}`);
  return Math.min(1, Math.ceil(rate * 2 ** 32) / 2 ** 32);
}

/** Indices below `count` of the records that join, ascending, each with probability {@link sampledRate} of `rate`. */
export function poissonSample(random: RandomIntegers, count: number, rate: number): number[] {
  const bound = sampledRate(rate) * 2 ** 32;
  const joined: number[] = [];
  for (let index = 0; index < count; index++) if (random.word() < bound) joined.push(index);
  return joined;
}
