/** What the processes of a run say to each other. Rows, bases and policies travel as paths: every process reads its own files. */
import type { ClientEvent } from '../../client/events.ts';
import type { FinishReason } from '../../client/session/machine.ts';
import type { CoordinatorProgress } from '../../coordinator/events.ts';
import type { AdapterLineage } from '../../shared/adapters/adapter-manifest.ts';
import type { BackendName } from '../../shared/compute/backend.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import type { MetricName } from '../../shared/training/metrics.ts';

/** Where a process computes. */
export interface ComputeChoice {
  readonly backend: BackendName | 'auto';
  readonly threads: number;
  /** How it keeps the weights of the base. */
  readonly frozenWeights?: FrozenPrecision;
}

/** Bytes of one federation, seen from its sites. */
export interface TrafficBytes {
  readonly up: number;
  readonly down: number;
}

/** To the coordinator's process: run one federation after the other, then end. */
export type ToCoordinator =
  | {
      readonly type: 'start';
      readonly plan: Plan;
      readonly baseFolder: string;
      readonly stateFolder: string;
      readonly siteNames: readonly string[];
    }
  | { readonly type: 'quit' };

/** From the coordinator's process. */
export type FromCoordinator =
  | { readonly type: 'ready'; readonly url: string; readonly invites: readonly string[] }
  | { readonly type: 'event'; readonly event: CoordinatorProgress }
  | {
      readonly type: 'ended';
      readonly status: 'completed' | 'stopped';
      readonly detail: string;
      /** Values of the last published version. */
      readonly adapter: Float32Array;
      readonly lineage: AdapterLineage;
      readonly traffic: TrafficBytes;
    };

/** To a site's process: take part in one federation after the other, then end. */
export type ToSite =
  | {
      readonly type: 'start';
      readonly siteName: string;
      readonly trainFile: string;
      /** Null where nothing is held out. */
      readonly heldOutFile: string | null;
      readonly policyFile: string;
      readonly stateFolder: string;
      readonly invite: string;
      readonly compute: ComputeChoice;
    }
  | { readonly type: 'quit' };

/** From a site's process. */
export type FromSite =
  | { readonly type: 'event'; readonly event: ClientEvent }
  | { readonly type: 'backend'; readonly name: string }
  /** Rows that are longer than the plan's texts, and those of which nothing is left. */
  | { readonly type: 'encoded'; readonly truncatedCount: number; readonly droppedCount: number }
  | { readonly type: 'finished'; readonly reason: FinishReason };

/** Test rows in groups that are evaluated and reported apart: every site's own, and those of nobody. */
export type TestGroups = readonly (readonly number[])[];

/** To a learning process, which trains and evaluates without a federation. */
export type ToLearner =
  | {
      readonly type: 'open';
      readonly plan: Plan;
      readonly baseFolder: string;
      readonly testFile: string;
      readonly testGroups: TestGroups;
      /** Held-out rows of all sites, for curves. */
      readonly heldOutFiles: readonly string[];
      readonly compute: ComputeChoice;
      /** The metric of curves. */
      readonly metric: MetricName;
    }
  | { readonly type: 'train'; readonly trainFiles: readonly string[] }
  | { readonly type: 'evaluate'; readonly parameters: Float32Array }
  | { readonly type: 'quit' };

/** From a learning process; `done` answers `train` and `evaluate`. */
export type FromLearner =
  | { readonly type: 'opened'; readonly backend: string; readonly trainable: number; readonly frozen: number }
  | { readonly type: 'progress'; readonly stepsDone: number }
  | { readonly type: 'curve'; readonly point: CurvePoint }
  | { readonly type: 'done'; readonly counts: readonly EvaluationCounts[]; readonly seconds: number };

/** A point of a learning curve: after this many rounds, or as much training. */
export interface CurvePoint {
  readonly round: number;
  /** The run's metric on the held-out rows of all sites; null where they do not define it. */
  readonly score: number | null;
  /** Mean over the targets of the held-out rows of all sites. */
  readonly loss: number;
}
