/** A site's process: takes part in one federation after the other with its own rows, policy and key, as `tributary client` does. */
import { createClient } from '../../client/client.ts';
import { siteLearner } from '../../client/learning-thread/site-learner.node.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import type { FinishReason } from '../../client/session/machine.ts';
import { readPolicy } from '../../shared/plan/read-plan.node.ts';
import type { FromSite, ToSite } from './messages.ts';
import { serveParent } from './processes.ts';

serveParent<ToSite, FromSite>(async (message, parent) => {
  if (message.type === 'quit') return true;
  const { siteName, trainFile, heldOutFile, policyFile, stateFolder, invite, compute } = message;
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
  const takePart = async (): Promise<FinishReason> => {
    const client = await createClient({
      platform: await nodePlatform(stateFolder),
      learner,
      policy: await readPolicy(policyFile),
      invite,
      name: siteName,
      onEvent: (event) => parent.send({ type: 'event', event }),
    });
    return client.run();
  };
  let reason: FinishReason;
  try {
    reason = await takePart();
  } finally {
    await learner.close();
  }
  parent.send({ type: 'finished', reason });
  return false;
});
