/** Makes the learner of a site, in its thread: the only module there that knows of files, tasks and engines. */
import { viewsOf } from '../../shared/data/row-fields.ts';
import { openActivationSpill } from '../../shared/training/activation-spill.node.ts';
import { keepOnDisk, readSite } from '../commands/site-records.ts';
import { feedOf } from '../record-feed.ts';
import { requireBackend, taskLearner } from '../task-learner.ts';
import type { SiteLearning } from './site-learner.node.ts';
import type { LearnerMaker } from './thread-learner.node.ts';

/** Reads the records, and learns from them for every plan that comes. */
export const createLearner: LearnerMaker<SiteLearning> = async ({ records, columns = {}, ...options }, tell) => {
  // A back end that was asked for by name and does not work ends the client here: before its invite is used, and before a round waits for it.
  await requireBackend(options);
  const site =
    'memoryRows' in records
      ? await readSite({ ...records, columns })
      : { train: feedOf(viewsOf(records.train)), heldOut: feedOf(viewsOf(records.heldOut)) };
  tell({ about: 'rows', trainCount: site.train.count, heldOutCount: site.heldOut.count });
  return taskLearner({
    ...options,
    ...site,
    activations: { ...options.activations, openSpill: openActivationSpill },
    columns,
    keep: keepOnDisk,
    onBackend: (name) => tell({ about: 'backend', name }),
    onEncoded: (counts) => tell({ about: 'encoded', ...counts }),
    onActivations: (kept) => tell({ about: 'activations', ...kept }),
    onPrivacy: (sentence) => tell({ about: 'privacy', sentence }),
  });
};
