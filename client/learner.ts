/**
 * What a client does with its data, as a port: the session, the transport and the benchmark of a round know nothing of models. The real
 * learner is `task-learner.ts`; others bring fixed deltas.
 */
import type { Digest } from '../shared/core/ids.ts';
import type { BaseFiles } from '../shared/model/load.ts';
import type { Plan } from '../shared/plan/plan.ts';
import type { RecordCharge } from '../shared/plan/record-privacy.ts';
import type { EvaluationCounts } from '../shared/training/counts.ts';
import type { AdapterLayout } from '../shared/update/layout.ts';

/** Where local training stands. */
export interface LearningProgress {
  readonly stepsDone: number;
  readonly stepCount: number;
  /** Mean loss of the last step's rows; never leaves the client. */
  readonly loss: number;
}

/** What training gives back. */
export interface LearnedUpdate {
  /** After minus before, in the order of what is trained. */
  readonly delta: Float32Array;
  /** By tensor of class `count`: how much this site used each part, per example; not needed where the layout has none. */
  readonly counts?: ReadonlyMap<string, Float32Array>;
  /** Weight of this client in the mean. */
  readonly exampleCount: number;
  readonly meanLoss: number;
  readonly seconds: number;
  /** What the site's records were charged until now, this training included; absent where the plan does not protect them. */
  readonly charges?: readonly RecordCharge[];
}

/** A base and a plan, ready to train: computed once per plan and kept over rounds. */
export interface PreparedLearning {
  /** Digest computed from the fetched base. */
  readonly baseDigest: Digest;
  /** The layout of what the plan publishes on this base, with its classes (`federatedLayout`). */
  readonly layout: AdapterLayout;
  /** The layout of what is trained, where that is another: a plan may publish more ranks than it trains. */
  readonly trainedLayout?: AdapterLayout;
  /** Start values of a seed in the order of what is trained; needed where a plan's rule begins every round afresh. */
  readonly initialise?: (seed: number) => Promise<Float32Array>;
  /** Whether it is gone with the thread that held it, and has to be prepared anew; absent means that this cannot be. */
  readonly isLost?: () => boolean;
  /** Rows that are held out; 0 means that there is nothing to evaluate on. */
  readonly heldOutCount: number;
  /**
   * Trains from `start` in the order of what is trained; it is lent and not changed: its memory serves a later round. `frozen`, in the order of
   * what is published, acts beside it as it is. `charges`: what the site's records were charged before; none by default.
   * @throws the reason of `signal` when it aborts.
   */
  train(options: {
    readonly start: Float32Array;
    readonly frozen: Float32Array | null;
    readonly roundIndex: number;
    readonly charges?: readonly RecordCharge[];
    readonly onProgress: (progress: LearningProgress) => void;
    readonly signal: AbortSignal;
  }): Promise<LearnedUpdate>;
  /** Counts of `parameters`, in the order of what is published, on the held-out rows. */
  evaluate(parameters: Float32Array, signal: AbortSignal): Promise<EvaluationCounts>;
  /** Frees what was loaded. */
  dispose(): void;
}

/** Makes a base and a plan ready. */
export interface Learner {
  /** Training rows of this site; its policy may demand a least number. */
  readonly exampleCount: number;
  /**
   * `baseFiles` are open until this settles.
   * @throws FederationError when the base is broken, or the data do not fit the plan.
   */
  prepare(plan: Plan, baseFiles: BaseFiles): Promise<PreparedLearning>;
}
