/** The settings of local training, as a plan gives them under `training`. */

/** How the learning rate moves after warm-up. */
export type ScheduleName = 'constant' | 'linear' | 'cosine';

/** Settings of local training. Exactly one of `localEpochs` and `localSteps` is set; both are positive whole numbers. */
export interface TrainingConfiguration {
  readonly localEpochs?: number | undefined;
  readonly localSteps?: number | undefined;
  /** Examples per batch, at least 1. */
  readonly batchSize: number;
  /** Highest learning rate, above 0. */
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Share of all steps during which the learning rate rises linearly from 0, in [0, 1). */
  readonly warmupFraction: number;
  /** Decoupled weight decay, at least 0; applies to tensors whose specification decays. */
  readonly weightDecay: number;
  /** Largest global norm of the gradient; 0 leaves gradients as they are. */
  readonly gradientClipNorm: number;
  /** Decay rates of the moments, in [0, 1). */
  readonly beta1: number;
  readonly beta2: number;
  /** Added to the root of the second moment, above 0. */
  readonly epsilon: number;
  /** Strength of the proximal term (FedProx, Li 2020, equation 2); 0 is plain local training. */
  readonly proximalMu: number;
}

/** Settings that suit adapters on small bases (Houlsby 2019, section 3.1, names 1e-3 and warm-up over 10 % of the steps). */
export const defaultTraining: TrainingConfiguration = {
  localEpochs: 1,
  batchSize: 16,
  learningRate: 1e-3,
  schedule: 'linear',
  warmupFraction: 0.06,
  weightDecay: 0.01,
  gradientClipNorm: 1,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  proximalMu: 0,
};
