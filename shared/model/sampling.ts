/** Choosing the next token from its scores: the best one, or one drawn by chance. Pure. */
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';

/** How a token is chosen. */
export interface Sampling {
  /** What scores are divided by before chances are formed; 0 takes the best token always, 1 leaves chances as they are. */
  readonly temperature: number;
  /** Only the best tokens, this many, have a chance; absent means all. */
  readonly topK?: number | undefined;
  /**
   * Only the best tokens have a chance that together come to this share (Holtzman 2020, nucleus sampling), at least one; absent, or 1, means
   * all.
   */
  readonly topP?: number | undefined;
}

/**
 * The index of a chosen score. Of equal ones the lower index counts as better. `topP` reads the chances that temperature and `topK` left,
 * as Transformers does.
 */
export function chooseToken(scores: Float32Array, { temperature, topK, topP }: Sampling, random: SeededRandom): number {
  assert(scores.length > 0, 'there is nothing to choose from');
  const best = bestOf(scores);
  if (temperature === 0) return best;
  const highest = scores[best]!;
  // In relation to the best one's, which is 1.
  const chances = new Float64Array(scores).map((score) => Math.exp((score - highest) / temperature));
  if (topK !== undefined && topK < chances.length) keepBest(chances, topK);
  if (topP !== undefined && topP < 1) keepNucleus(chances, topP);
  const wanted = random.uniform() * sumOf(chances);
  let passed = 0;
  for (let index = 0; index < chances.length; index++) {
    passed += chances[index]!;
    if (wanted < passed) return index;
  }
  return best;
}

function bestOf(scores: Float32Array): number {
  let best = 0;
  for (let index = 1; index < scores.length; index++) if (scores[index]! > scores[best]!) best = index;
  return best;
}

/** Sets all but the `count` largest chances to zero. Sorting bare numbers is ten times faster than sorting indices by them. */
function keepBest(chances: Float64Array, count: number): void {
  const limit = chances.toSorted()[chances.length - count]!;
  let equals = count;
  for (const chance of chances) if (chance > limit) equals--;
  for (let index = 0; index < chances.length; index++) {
    const isKept = chances[index]! > limit || (chances[index] === limit && equals-- > 0);
    if (!isKept) chances[index] = 0;
  }
}

/**
 * Sets all chances to zero but the fewest largest that together come to `share`. Those below (1 - share) / count come to less than 1 - share
 * together, so they are never among them and need no sorting.
 */
function keepNucleus(chances: Float64Array, share: number): void {
  const total = sumOf(chances);
  const limit = ((1 - share) * total) / chances.length;
  const candidates: number[] = [];
  for (let index = 0; index < chances.length; index++) if (chances[index]! >= limit) candidates.push(index);
  const before = chances.slice();
  chances.fill(0);
  let passed = 0;
  for (const index of candidates.sort((left, right) => before[right]! - before[left]! || left - right)) {
    if (passed >= share * total) return;
    chances[index] = before[index]!;
    passed += before[index]!;
  }
}

function sumOf(numbers: Float64Array): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
