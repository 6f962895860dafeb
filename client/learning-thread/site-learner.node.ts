/** The learner of a site in Node, in a thread of its own: there the site's records are read, encoded and trained on. */
import { extname } from 'node:path';
import type { BackendName } from '../../shared/compute/backend-names.ts';
import type { FrozenPrecision } from '../../shared/compute/compact-matrix.ts';
import type { ColumnMapping } from '../../shared/data/row-fields.ts';
import type { ActivationCacheOptions } from '../../shared/training/activation-cache.ts';
import type { SiteFiles } from '../commands/site-records.ts';
import type { LearningNote } from './messages.ts';
import { openThreadLearner, type ThreadLearner } from './thread-learner.node.ts';

/** A site's records and how it computes, as plain values: they are copied to the thread. */
export interface SiteLearning {
  /** In files, or as objects with the fields that the task of a plan names. */
  readonly records:
    | Omit<SiteFiles, 'columns'>
    | { readonly train: readonly object[]; readonly heldOut: readonly object[] };
  /** Which column holds what, where they do not have the usual names of the task. */
  readonly columns?: ColumnMapping;
  readonly backend: BackendName | 'auto';
  readonly threads?: number;
  /** How the weights of the base's linear maps are kept; float32 by default. */
  readonly frozenWeights?: FrozenPrecision;
  /** The room for states of texts below the lowest adapter; 256 MiB by default. */
  readonly activations?: ActivationCacheOptions;
  /** The task of this site, for adapters that serve several. */
  readonly adapterTask?: string;
}

/** What {@link siteLearner} needs. */
export interface SiteLearnerOptions extends SiteLearning {
  /** Told which back end was taken, what was cut, what privacy cost. */
  readonly onNote?: (note: LearningNote) => void;
}

/**
 * A learner on a site's records that leaves the calling thread to the socket; for browsers and other places there is `taskLearner`.
 * @throws FederationError as the readers of records do; `backend-unavailable` when the named back end does not work; `learner-died` when the
 * thread ends.
 *
 * @example
 * ```ts
 * const learner = await siteLearner({ records: { train: 'rows.jsonl', memoryRows: 200_000 }, backend: 'auto' });
 * const client = await createClient({ platform: await nodePlatform('state'), learner, invite: code });
 * await client.run().finally(() => learner.close());
 * ```
 */
export async function siteLearner({ onNote, ...data }: SiteLearnerOptions): Promise<ThreadLearner> {
  const module = new URL(`./make-site-learner.node${extname(import.meta.url)}`, import.meta.url);
  return openThreadLearner<SiteLearning>({ module, data, ...(onNote && { onNote }) });
}
