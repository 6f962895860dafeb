/** The noise that a budget asks for, and the releases that it pays. */
import { assert } from '../core/assert.ts';

/** Noise multipliers between which one is looked for: below, nothing is hidden; above, nothing is left. */
const [multiplierMin, multiplierMax] = [1e-2, 1e4];
/** How finely enough noise that can be made is looked for. */
const stride = 1.25;

/**
 * The least noise multiplier, to four digits and rounded up, with which `epsilonOf` stays within `budget`; null when none does. Where noise is so
 * large that it cannot be made, as in a narrow ring, `epsilonOf` is infinite.
 */
export function leastNoise(epsilonOf: (noiseMultiplier: number) => number, budget: number): number | null {
  assert(budget > 0, 'a budget is above 0');
  let [low, high] = [multiplierMin, multiplierMax];
  while (epsilonOf(high) > budget) {
    high /= stride;
    if (high < multiplierMin) return null;
  }
  while (high / low > 1 + 1e-5) {
    const middle = Math.sqrt(low * high);
    if (epsilonOf(middle) <= budget) high = middle;
    else low = middle;
  }
  const digits = 10 ** (3 - Math.floor(Math.log10(high)));
  const rounded = Math.ceil(high * digits) / digits;
  return epsilonOf(rounded) <= budget ? rounded : high;
}

/** The most releases, at most `most`, after which `epsilonAfter` is within `budget`. It grows with their number. */
export function affordable(epsilonAfter: (releases: number) => number, budget: number, most: number): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (epsilonAfter(middle) <= budget) low = middle;
    else high = middle - 1;
  }
  return low;
}
