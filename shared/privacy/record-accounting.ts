/**
 * What private training on single records costs (Abadi 2016; Mironov, Talwar, Zhang 2019): every record joins every step by a coin of its own, its
 * gradient is clipped, and the sum has discrete Gaussian noise. Converted over whole orders only: there the moments of the sampled Gaussian are
 * a finite sum of E[(P/Q)^k] = e^((k² − k) Δ²/(2σ²)), which holds for the discrete Gaussian as it stands, because shifting the integers by kΔ
 * gives the integers.
 *
 * Neighbours: a site's records with one more or less. The number of records, which a site reports, is not protected.
 */
import { rdpEpsilon, stepRdp } from './rdp-accountant.ts';
import { sampledRate } from './record-sampling.ts';
import { wholeOrders } from './skellam-accountant.ts';

/** Training on one site's records. */
export interface RecordMechanism {
  readonly recordCount: number;
  /** Records that a step has on average. */
  readonly batchSize: number;
  readonly stepsPerRound: number;
  readonly dpDelta: number;
}

/** Rényi divergence of one round by whole order. */
export function recordRdp(
  mechanism: Omit<RecordMechanism, 'dpDelta'>,
  noiseMultiplier: number,
): (order: number) => number {
  const { stepsPerRound } = mechanism;
  const samplingRate = rateOf(mechanism);
  return (order) => stepsPerRound * stepRdp({ noiseMultiplier, samplingRate }, order);
}

const rateOf = ({ recordCount, batchSize }: Pick<RecordMechanism, 'recordCount' | 'batchSize'>): number =>
  sampledRate(Math.min(1, batchSize / recordCount));

/** ε after `roundCount` rounds with this noise; 0 after none. */
export function recordEpsilon(mechanism: RecordMechanism, noiseMultiplier: number, roundCount: number): number {
  if (roundCount === 0) return 0;
  const { stepsPerRound, dpDelta } = mechanism;
  const steps = { noiseMultiplier, samplingRate: rateOf(mechanism), stepCount: stepsPerRound * roundCount };
  return rdpEpsilon(steps, dpDelta, wholeOrders).epsilon;
}
