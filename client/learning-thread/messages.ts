/** What the thread of the socket and the thread of learning say to each other. Numbers of updates are moved, not copied. */
import type { Failure } from '../../shared/core/failure.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { RecordCharge } from '../../shared/plan/record-privacy.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import type { LearnedUpdate, LearningProgress, PreparedLearning } from '../learner.ts';

/** A file of a base: its bytes, or an open file of this process. */
export type FileContent = Uint8Array | { readonly descriptor: number; readonly size: number };

/** What is known of a base and plan that were prepared. */
export type PreparedFacts = Pick<PreparedLearning, 'baseDigest' | 'layout' | 'trainedLayout' | 'heldOutCount'>;

/** To the thread of learning. Every `call` is answered once. */
export type ToLearning =
  | {
      readonly type: 'prepare';
      readonly call: number;
      readonly plan: Plan;
      readonly files: readonly (readonly [name: string, content: FileContent])[];
    }
  | { readonly type: 'initialise'; readonly call: number; readonly seed: number }
  | {
      readonly type: 'train';
      readonly call: number;
      readonly start: Float32Array;
      readonly frozen: Float32Array | null;
      readonly roundIndex: number;
      readonly charges: readonly RecordCharge[];
    }
  | { readonly type: 'evaluate'; readonly call: number; readonly parameters: Float32Array }
  /** A call is no longer wanted; it is answered all the same. */
  | { readonly type: 'cancel'; readonly call: number }
  /** Frees what was prepared last. */
  | { readonly type: 'release' };

/** From the thread of learning. */
export type FromLearning =
  | { readonly type: 'opened'; readonly exampleCount: number }
  | { readonly type: 'not-opened'; readonly failure: Failure }
  /** Something to tell the owner, by the name and with the argument of a listener of `taskLearner`. */
  | { readonly type: 'told'; readonly note: LearningNote }
  | { readonly type: 'progress'; readonly call: number; readonly progress: LearningProgress }
  | Answer;

/** The answer to a call. */
export type Answer =
  | { readonly type: 'prepared'; readonly call: number; readonly facts: PreparedFacts }
  | { readonly type: 'initialised'; readonly call: number; readonly values: Float32Array }
  | { readonly type: 'trained'; readonly call: number; readonly update: LearnedUpdate }
  | { readonly type: 'evaluated'; readonly call: number; readonly counts: EvaluationCounts }
  | { readonly type: 'failed'; readonly call: number; readonly failure: Failure };

/** What a learner tells its owner besides results. */
export type LearningNote =
  | { readonly about: 'rows'; readonly trainCount: number; readonly heldOutCount: number }
  | { readonly about: 'backend'; readonly name: string }
  | { readonly about: 'encoded'; readonly truncatedCount: number; readonly droppedCount: number }
  | { readonly about: 'activations'; readonly count: number; readonly bytes: number }
  | { readonly about: 'privacy'; readonly sentence: string };
