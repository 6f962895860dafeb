/** When to try again after a lost connection: exponential back-off with full jitter, so that a fleet does not come back all at once. */
import type { Entropy } from '../../shared/core/ports.ts';

/** Bounds of the delay between two attempts, in milliseconds. */
export interface BackoffLimits {
  /** Largest delay before the first repetition. */
  readonly firstMs: number;
  /** Largest delay ever. */
  readonly mostMs: number;
}

/** A coordinator that restarts is found again within seconds, one that is down for a day costs two attempts a minute. */
const defaultBackoff: BackoffLimits = { firstMs: 500, mostMs: 30_000 };

/**
 * Delay before attempt `attempt` (1 is the first repetition), uniformly between a tenth of the bound and the bound
 * `firstMs * 2^(attempt - 1)`, at most `mostMs`. `uniform` lies in [0, 1).
 */
export function backoffMs(attempt: number, uniform: number, limits: BackoffLimits = defaultBackoff): number {
  const bound = Math.min(limits.mostMs, limits.firstMs * 2 ** Math.min(30, Math.max(0, attempt - 1)));
  return Math.round(bound * (0.1 + 0.9 * uniform));
}

/** A number in [0, 1) for {@link backoffMs}. */
export function jitter(entropy: Entropy): number {
  const [low, high] = entropy.bytes(2);
  return (low! + 256 * high!) / 65_536;
}
