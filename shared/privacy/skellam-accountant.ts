/**
 * Rényi privacy of sums of integers with Skellam noise (Agarwal, Kairouz, Liu 2021, theorem 3.5), and the sensitivity of conditionally rounded
 * vectors (Kairouz, Liu, Steinke 2021, proposition 26). Everything is in units of the grid.
 *
 * Notation: μ total variance, Δ₂ and Δ₁ sensitivities, S = 2^f scale, C clip norm, d dim.
 */
import { assert } from '../core/assert.ts';

/** Sensitivities in units of the grid. */
export interface Sensitivity {
  /** Δ₂, Euclidean. */
  readonly l2: number;
  /** Δ₁, sum of magnitudes. */
  readonly l1: number;
}

/** β: probability under which rounding is drawn again; e^−½ costs two draws or so. */
const logInverseBeta = 0.5;

/** Δ₂ = min{SC + √d, √(S²C² + d/4 + √(2 ln(1/β)) (SC + √d/2))}, Δ₁ = Δ₂ min(√d, Δ₂). */
export function roundedSensitivity(scaledNorm: number, dim: number): Sensitivity {
  assert(scaledNorm > 0 && dim >= 1, 'a norm is above 0, a vector has a coordinate');
  const root = Math.sqrt(dim);
  const likely = Math.sqrt(scaledNorm ** 2 + dim / 4 + Math.sqrt(2 * logInverseBeta) * (scaledNorm + root / 2));
  const l2 = Math.min(scaledNorm + root, likely);
  return { l2, l1: l2 * Math.min(root, l2) };
}

/** ρ(α) of one sum at a whole order α >= 2. */
export function skellamRdp({ l2, l1 }: Sensitivity, variance: number, order: number): number {
  assert(variance > 0 && Number.isInteger(order) && order >= 2, 'a variance is above 0, an order whole and at least 2');
  const extra = Math.min(((2 * order - 1) * l2 ** 2 + 6 * l1) / (4 * variance ** 2), (3 * l1) / (2 * variance));
  return (order * l2 ** 2) / (2 * variance) + extra;
}

/** Orders over which sums with Skellam noise are converted: its bound holds for whole orders. */
export const wholeOrders: readonly number[] = [
  ...Array.from({ length: 127 }, (_, index) => index + 2),
  160,
  192,
  256,
  384,
  512,
  1024,
];
