/** The learner on a site's records, on the thread that calls it; what it computes with is loaded when the first plan comes. */

import type { BackendName } from '../shared/compute/backend-names.ts';
import type { FrozenPrecision } from '../shared/compute/compact-matrix.ts';
import type { ColumnMapping, RecordView } from '../shared/data/row-fields.ts';
import type { ActivationCacheParts } from '../shared/training/activation-cache.ts';
import type { Learner } from './learner.ts';
import { asFeed, type ExampleKeeper, type RecordFeed } from './record-feed.ts';

/** A site's records and where it computes. What a record means is decided by the task of the plan that comes. */
export interface TaskLearnerOptions {
  readonly train: readonly RecordView[] | RecordFeed;
  /** Records that are never trained on; empty where the site evaluates nothing. */
  readonly heldOut: readonly RecordView[] | RecordFeed;
  /** Where the examples of a plan go; memory by default. */
  readonly keep?: ExampleKeeper;
  /** Which column holds what, where they do not have the usual names of the task. */
  readonly columns?: ColumnMapping;
  readonly backend: BackendName | 'auto';
  readonly threads?: number;
  /** How the weights of the base's linear maps are kept; float32 by default. */
  readonly frozenWeights?: FrozenPrecision;
  /** The room for states of texts below the lowest adapter; 256 MiB by default. */
  readonly activations?: ActivationCacheParts;
  /** Told after every training how many texts have their states kept, if any. */
  readonly onActivations?: (kept: { readonly count: number; readonly bytes: number }) => void;
  /** The task of this site, for adapters that serve several (`hyperformer`). */
  readonly adapterTask?: string;
  /** Told for every plan which back end was taken. */
  readonly onBackend?: (name: BackendName) => void;
  /** Told for every plan how many rows were cut for their length, training and held-out rows together, and how many of those are left out. */
  readonly onEncoded?: (counts: { readonly truncatedCount: number; readonly droppedCount: number }) => void;
  /** Told before every round of a plan with differential privacy what it will have cost, of whose, and against whom that holds. */
  readonly onPrivacy?: (sentence: string) => void;
}

/** A learner on these records. In Node `siteLearner` (`client/node.ts`) puts it on a thread of its own, which leaves this one to the socket. */
export function taskLearner(options: TaskLearnerOptions): Learner {
  return {
    exampleCount: asFeed(options.train).count,
    prepare: async (plan, baseFiles) => {
      const { prepareTask } = await import('./prepare-task.ts');
      return prepareTask(plan, baseFiles, options);
    },
  };
}

/** @throws FederationError `backend-unavailable` when the back end was asked for by name and does not work here. */
export async function requireBackend({
  backend,
  threads = 1,
}: Pick<TaskLearnerOptions, 'backend' | 'threads'>): Promise<void> {
  if (backend === 'auto') return;
  const { useBackend } = await import('../shared/compute/backend.ts');
  await useBackend(backend, { threads });
}
