/** A site's process: takes part in one federation after the other with its own rows, policy and key, as `tributary client` does. */
import { createClient } from '../../client/client.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { readRowsAs } from '../../shared/data/rows.node.ts';
import { readPolicy } from '../../shared/plan/read-plan.node.ts';
import type { FromSite, ToSite } from './messages.ts';
import { serveParent } from './processes.ts';

const read = (path: string) => readRowsAs(path, (view) => view);

serveParent<ToSite, FromSite>(async (message, parent) => {
  if (message.type === 'quit') return true;
  const { siteName, trainFile, heldOutFile, policyFile, stateFolder, invite, compute } = message;
  const client = await createClient({
    platform: await nodePlatform(stateFolder),
    learner: taskLearner({
      train: await read(trainFile),
      heldOut: heldOutFile === null ? [] : await read(heldOutFile),
      ...compute,
      onBackend: (name) => parent.send({ type: 'backend', name }),
      onEncoded: (counts) => parent.send({ type: 'encoded', ...counts }),
    }),
    policy: await readPolicy(policyFile),
    invite,
    name: siteName,
    onEvent: (event) => parent.send({ type: 'event', event }),
  });
  parent.send({ type: 'finished', reason: await client.run() });
  return false;
});
