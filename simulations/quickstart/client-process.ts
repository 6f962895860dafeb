/** A site's process: takes part in one federation after the other with its own rows, policy and key, as `tributary client` does. */
import { createClient } from '../../client/client.ts';
import { siteLearner } from '../../client/learning-thread/site-learner.node.ts';
import type { ThreadLearner } from '../../client/learning-thread/thread-learner.node.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { readPolicy } from '../../shared/plan/read-plan.node.ts';
import type { FromSite, ToSite } from './messages.ts';
import { type ParentLink, serveParent } from './processes.ts';

/** The learner of this site and what it was made from: federations of a run, one after the other, share its thread and its records. */
let known: { readonly key: string; readonly learner: ThreadLearner } | null = null;

async function learnerOf(
  { trainFile, heldOutFile, compute }: Extract<ToSite, { type: 'start' }>,
  parent: ParentLink<FromSite>,
): Promise<ThreadLearner> {
  const key = JSON.stringify([trainFile, heldOutFile, compute]);
  if (known?.key === key) return known.learner;
  await known?.learner.close();
  const learner = await siteLearner({
    records: {
      train: trainFile,
      memoryRows: Number.POSITIVE_INFINITY,
      ...(heldOutFile === null ? { heldOutFraction: 0 } : { heldOut: heldOutFile }),
    },
    ...compute,
    onNote: (note) => {
      if (note.about === 'backend') parent.send({ type: 'backend', name: note.name });
      else if (note.about === 'encoded') parent.send({ ...note, type: 'encoded' });
    },
  });
  known = { key, learner };
  return learner;
}

serveParent<ToSite, FromSite>(async (message, parent) => {
  if (message.type === 'quit') {
    await known?.learner.close();
    return true;
  }
  const { siteName, policyFile, stateFolder, invite } = message;
  const client = await createClient({
    platform: await nodePlatform(stateFolder),
    learner: await learnerOf(message, parent),
    policy: await readPolicy(policyFile),
    invite,
    name: siteName,
    onEvent: (event) => parent.send({ type: 'event', event }),
  });
  parent.send({ type: 'finished', reason: await client.run() });
  return false;
});
