/**
 * Random integers for noise that protects privacy, from bytes of a cryptographic generator. Coins are exact: a fraction in double precision only
 * decides where it certainly decides as the exact one would; else the exact fraction does. So no sample carries the gaps of floating point,
 * from which noise can be told apart from what it hides (Mironov 2012).
 */
import { assert } from '../core/assert.ts';
import type { Entropy } from '../core/ports.ts';
import type { KeyStream } from '../crypto/key-stream.ts';

/** A source of random integers. One owner. */
export interface RandomIntegers {
  /** Uniform in [0, 2^32). */
  word(): number;
  /** Uniform in [0, bound), `bound` from 1 to 2^53. */
  below(bound: number): number;
  /**
   * True with exactly the probability that `exact` gives as numerator and denominator (both >= 0, at most 1 together). `near` is that fraction
   * within 2^-36 of it; `exact` is asked about once in 2^31 draws.
   */
  coin(near: number, exact: () => readonly [bigint, bigint]): boolean;
}

/** Bytes that are fetched at a time: whole blocks of every cipher. */
const partBytes = 16_384;
/** Far more than the error of a fraction in double precision; far less than the distance of two random words. */
const slack = 2 ** -36;

/** Integers from a key stream, or from the engine's generator. */
export function randomIntegers(source: KeyStream | Entropy): RandomIntegers {
  let words = new Uint32Array(0);
  let used = 0;
  const word = (): number => {
    if (used === words.length) {
      const bytes = 'next' in source ? source.next(partBytes) : source.bytes(partBytes);
      words.fill(0);
      words = new Uint32Array(Uint8Array.from(bytes).buffer);
      used = 0;
    }
    const value = words[used]!;
    words[used++] = 0;
    return value;
  };
  const below = (bound: number): number => {
    assert(Number.isSafeInteger(bound - 1) && bound >= 1, `a bound is from 1 to 2^53, found ${bound}`);
    if (bound === 1) return 0;
    // Only as many bits as the bound has, so that at most half of the draws are refused.
    const bits = bound <= 2 ** 32 ? 32 - Math.clz32(bound - 1) : 64 - Math.clz32(Math.floor((bound - 1) / 2 ** 32));
    for (;;) {
      const low = bits <= 32 ? word() >>> (32 - bits) : (word() >>> (64 - bits)) * 2 ** 32 + word();
      if (low < bound) return low;
    }
  };
  const coin = (near: number, exact: () => readonly [bigint, bigint]): boolean => {
    const first = word();
    if ((first + 1) * 2 ** -32 <= near - slack) return true;
    if (first * 2 ** -32 >= near + slack) return false;
    const [numerator, denominator] = exact();
    assert(numerator >= 0n && denominator > 0n, 'a probability is a fraction');
    // The uniform number's digits, as many as it takes.
    let [drawn, bits] = [BigInt(first), 32n];
    for (;;) {
      if ((drawn + 1n) * denominator <= numerator << bits) return true;
      if (drawn * denominator >= numerator << bits) return false;
      drawn = (drawn << 32n) | BigInt(word());
      bits += 32n;
    }
  };
  return { word, below, coin };
}

/**
 * True with probability e^(−numerator/denominator), exactly (Canonne, Kamath, Steinke 2020, algorithm 1). `near` is the fraction in double
 * precision, >= 0; `exact` the fraction itself.
 */
export function exponentialCoin(random: RandomIntegers, near: number, exact: () => readonly [bigint, bigint]): boolean {
  // e^−γ = (e^−1)^⌊γ⌋ e^−(γ − ⌊γ⌋); where ⌊γ⌋ in double precision is in doubt, the exact one counts.
  let whole = Math.floor(near);
  const doubt = (near + 1) * slack;
  if (near - whole < doubt || whole + 1 - near < doubt) {
    const [numerator, denominator] = exact();
    whole = Number(numerator / denominator);
  }
  for (let unit = 0; unit < whole; unit++) if (!unitCoin(random)) return false;
  return smallExponentialCoin(random, Math.max(0, near - whole), () => {
    const [numerator, denominator] = exact();
    return [numerator - BigInt(whole) * denominator, denominator];
  });
}

/** True with probability 1/e. */
export function unitCoin(random: RandomIntegers): boolean {
  return smallExponentialCoin(random, 1, one);
}

const one = (): readonly [bigint, bigint] => [1n, 1n];

/** For exponents from 0 to 1: the number of coins γ/1, γ/2, γ/3, … in a row that are true is even with probability e^−γ. */
function smallExponentialCoin(random: RandomIntegers, near: number, exact: () => readonly [bigint, bigint]): boolean {
  for (let count = 1; ; count++) {
    const isTrue = random.coin(near / count, () => {
      const [numerator, denominator] = exact();
      return [numerator, denominator * BigInt(count)];
    });
    if (!isTrue) return count % 2 === 1;
  }
}
