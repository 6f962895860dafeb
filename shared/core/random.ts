/**
 * Reproducible random numbers for initialisation, shuffling, dropout and partitions: the same seed and labels give the same numbers on
 * every machine. Never for keys, nonces or noise that protects privacy.
 *
 * Generator: xoshiro128** (Blackman and Vigna 2018), seeded through SplitMix32.
 */

/** A stream of reproducible numbers. Drawing changes the stream; `fork` does not. */
export interface SeededRandom {
  /** Uniform in [0, 1), 32 random bits. */
  uniform(): number;
  /** Uniform integer in [0, bound), `bound` from 1 to 2^32. */
  integer(bound: number): number;
  /** Normal with mean 0 and variance 1 (Box and Muller 1958). */
  normal(): number;
  /** Gamma with the given shape > 0 and scale 1 (Marsaglia and Tsang 2000). */
  gamma(shape: number): number;
  /** Shuffles `items` in place (Fisher-Yates) and returns them. */
  shuffle<Item>(items: Item[]): Item[];
  /** An independent stream named by `labels`, whatever was drawn before. */
  fork(...labels: readonly (string | number)[]): SeededRandom;
}

/** FNV-1a over the text of the labels, continued from `start`. */
function mixLabels(start: number, labels: readonly (string | number)[]): number {
  let hash = (start ^ 0x811c9dc5) >>> 0;
  for (const label of labels) {
    for (const character of `${typeof label}:${label}\0`)
      hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return hash;
}

/** A stream from an integer seed (taken modulo 2^32) and labels. */
export function seededRandom(seed: number, ...labels: readonly (string | number)[]): SeededRandom {
  const origin = mixLabels(seed >>> 0, labels);
  let mixer = origin;
  const nextWord = (): number => {
    mixer = (mixer + 0x9e3779b9) >>> 0;
    let word = mixer;
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  };
  let a = nextWord();
  let b = nextWord();
  let c = nextWord();
  let d = nextWord() | 1;

  const next = (): number => {
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };

  const random: SeededRandom = {
    uniform: () => next() / 2 ** 32,
    integer: (bound) => Math.floor((next() / 2 ** 32) * bound),
    normal: () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform()),
    gamma: (shape) => {
      if (shape < 1) return random.gamma(shape + 1) * (1 - random.uniform()) ** (1 / shape);
      const offset = shape - 1 / 3;
      const slope = 1 / Math.sqrt(9 * offset);
      for (;;) {
        const deviate = random.normal();
        const cube = (1 + slope * deviate) ** 3;
        if (cube <= 0) continue;
        const threshold = 0.5 * deviate ** 2 + offset * (1 - cube + Math.log(cube));
        if (Math.log(1 - random.uniform()) < threshold) return offset * cube;
      }
    },
    shuffle: (items) => {
      for (let last = items.length - 1; last > 0; last--) {
        const other = random.integer(last + 1);
        [items[last], items[other]] = [items[other]!, items[last]!];
      }
      return items;
    },
    fork: (...more) => seededRandom(origin, ...more),
  };
  return random;
}
