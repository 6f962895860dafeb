/** The settings of local training, as a plan gives them under `training`. */

import type { AdversarialSettings } from './adversarial.ts';
import type { FreezeSettings } from './freeze-schedule.ts';
import type { ParameterGroup } from './parameter-groups.ts';

/** How the learning rate moves after warm-up. */
export type ScheduleName = 'constant' | 'linear' | 'cosine';

/** Settings of local training. Exactly one of `localEpochs` and `localSteps` is set; both are positive whole numbers. */
export interface TrainingConfiguration extends FreezeSettings {
  readonly localEpochs?: number | undefined;
  readonly localSteps?: number | undefined;
  /** Examples per batch, at least 1. */
  readonly batchSize: number;
  /** Highest learning rate, above 0. */
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Share of all steps during which the learning rate rises linearly from 0, in [0, 1). */
  readonly warmupFraction: number;
  /** Steps of warm-up in place of the share, at least 0; where they are more than all steps, the rate rises to the end. */
  readonly warmupSteps?: number | undefined;
  /** Decoupled weight decay, at least 0; applies to tensors whose specification decays. */
  readonly weightDecay: number;
  /** Largest global norm of the gradient; 0 leaves gradients as they are. */
  readonly gradientClipNorm: number;
  /** Decay rates of the moments, in [0, 1). */
  readonly beta1: number;
  readonly beta2: number;
  /** Added to the root of the second moment, above 0. */
  readonly epsilon: number;
  /** Tensors with learning rates of their own; the first group that names a tensor counts. */
  readonly groups?: readonly ParameterGroup[] | undefined;
  /**
   * Where the data stand in parts (languages, tasks): T of p ∝ n^(1/T), the share of a part of n examples among the batches, above 0. Absent: parts
   * are trained in proportion to their sizes, mixed within batches unless the adapter serves them as tasks.
   */
  readonly samplingTemperature?: number | undefined;
  /** Training on word vectors that are changed for the worse; absent: on the texts alone. */
  readonly adversarial?: AdversarialSettings | undefined;
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
