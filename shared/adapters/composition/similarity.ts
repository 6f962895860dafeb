/**
 * Adapters for a task that none of them was trained for, chosen without training (Chronopoulou 2023, AdapterSoup, section 3.2, the choice by
 * sentence similarity): every adapter comes with the mean state of its own texts, the profile; the new task's texts are compared with the
 * profiles, and the adapters of the closest ones are averaged with equal weights, here in what they put out (`average`), since adapters
 * that did not start alike have no mean in their parameters. A profile is a mean over many texts; whoever holds it learns nothing more of them.
 */
import { assert } from '../../core/assert.ts';

/** Mean of pooled states `[hidden]` of some texts, of the length 1. */
export type Profile = Float64Array;

/** The profile of texts given as pooled states of the base alone, `[hidden]` each. */
export function profileOf(states: readonly Float32Array[]): Profile {
  const [first] = states;
  assert(first !== undefined, 'a profile needs at least one text');
  const sum = new Float64Array(first.length);
  for (const state of states) {
    const length = Math.hypot(...state);
    for (const [index, value] of state.entries()) sum[index]! += value / (length || 1);
  }
  const length = Math.hypot(...sum);
  return sum.map((value) => value / (length || 1));
}

/** Cosine of two profiles. */
export function similarity(left: Profile, right: Profile): number {
  return left.reduce((sum, value, index) => sum + value * right[index]!, 0);
}

/**
 * Weights of adapters for texts of the profile `wanted`: 1 / `count` for the `count` most similar, of equal ones the first, and 0 for the
 * others, in the order of `profiles`.
 */
export function soupWeights(profiles: readonly Profile[], wanted: Profile, count: number): number[] {
  assert(count >= 1 && count <= profiles.length, `of ${profiles.length} adapters 1 to all can be chosen, not ${count}`);
  const order = profiles
    .map((profile, index) => ({ index, value: similarity(profile, wanted) }))
    .sort((left, right) => right.value - left.value || left.index - right.index);
  const weights = profiles.map(() => 0);
  for (const { index } of order.slice(0, count)) weights[index] = 1 / count;
  return weights;
}
