/**
 * Shamir's secret sharing (Shamir 1979) over GF(2^8), byte by byte: any `threshold` shares give the secret back, fewer say nothing about
 * it. The field is that of AES, x^8 + x^4 + x^3 + x + 1. Who holds a share is who it is: its point x = 1 to 255 is agreed beforehand and
 * never sent, so that nobody can claim another's.
 *
 * Multiplication takes the same time for all operands: secrets stand in no table index and decide no branch.
 */
import { assert } from '../core/assert.ts';
import type { Entropy } from '../core/ports.ts';

/** Most shares of one secret: the points of the field but zero, where the secret itself stands. */
const shareCountMax = 255;

/** Product in GF(2^8). */
export function multiply(left: number, right: number): number {
  let [factor, product] = [left, 0];
  for (let bit = 0; bit < 8; bit++) {
    product ^= factor & -((right >> bit) & 1);
    factor = (factor << 1) ^ (0x11b & -((factor >> 7) & 1));
  }
  return product;
}

/** Multiplicative inverse in GF(2^8): the 254th power. Zero gives zero. */
function inverse(value: number): number {
  let [power, result] = [value, 1];
  for (let bit = 1; bit < 8; bit++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

/**
 * Shares of `secret` for the points 1 to `shareCount`, in this order, each as long as the secret; owned by the caller.
 * `threshold` from 1 to `shareCount`. Cost: O(shareCount x threshold) per byte.
 */
export function splitSecret(
  secret: Uint8Array,
  { shareCount, threshold }: { readonly shareCount: number; readonly threshold: number },
  entropy: Entropy,
): Uint8Array[] {
  assert(
    Number.isInteger(shareCount) && shareCount >= 1 && shareCount <= shareCountMax,
    `a secret has 1 to ${shareCountMax} shares, asked for ${shareCount}`,
  );
  assert(
    Number.isInteger(threshold) && threshold >= 1 && threshold <= shareCount,
    `a threshold is from 1 to the ${shareCount} shares, asked for ${threshold}`,
  );
  // Row k holds the coefficients of x^(k + 1) for every byte; they are as secret as the secret.
  const coefficients = entropy.bytes((threshold - 1) * secret.length);
  const shares = Array.from({ length: shareCount }, (_, index) => evaluate(secret, coefficients, index + 1));
  coefficients.fill(0);
  return shares;
}

/** The polynomial's values at `point` by Horner's rule. */
function evaluate(secret: Uint8Array, coefficients: Uint8Array, point: number): Uint8Array {
  const value = new Uint8Array(secret.length);
  for (let start = coefficients.length - secret.length; start >= 0; start -= secret.length) {
    for (let index = 0; index < secret.length; index++)
      value[index] = multiply(value[index]! ^ coefficients[start + index]!, point);
  }
  for (let index = 0; index < secret.length; index++) value[index]! ^= secret[index]!;
  return value;
}

/** One share and the point where it stands. */
export interface Share {
  /** From 1 to 255. */
  readonly point: number;
  readonly bytes: Uint8Array;
}

/**
 * The secret of at least `threshold` shares at different points: exactly those given are used. Fewer, or a wrong one, give another secret
 * of the same length and no error: whoever combines compares the outcome with a commitment.
 */
export function combineShares(shares: readonly Share[]): Uint8Array {
  const [first] = shares;
  assert(first !== undefined, 'a secret needs at least one share');
  const points = shares.map(({ point }) => point);
  assert(new Set(points).size === points.length, 'shares stand at different points');
  const secret = new Uint8Array(first.bytes.length);
  for (const { point, bytes } of shares) {
    assert(point >= 1 && point <= shareCountMax && bytes.length === secret.length, 'shares have one length');
    let weight = 1;
    for (const other of points) if (other !== point) weight = multiply(weight, multiply(other, inverse(other ^ point)));
    for (let index = 0; index < secret.length; index++) secret[index]! ^= multiply(bytes[index]!, weight);
  }
  return secret;
}
