/** The coordinator's process: runs one federation after the other, each with durable state of its own, as `tributary coordinator` does. */
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { openState } from '../../coordinator/store/state.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { assert } from '../../shared/core/assert.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { openBaseFiles } from '../../shared/model/load.node.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { initialValues, taskLayout } from '../../shared/training/initial-adapter.ts';
import type { FromCoordinator, ToCoordinator } from './messages.ts';
import { serveParent } from './processes.ts';

serveParent<ToCoordinator, FromCoordinator>(async (message, parent) => {
  if (message.type === 'quit') return true;
  const { plan, baseFolder, stateFolder, siteNames } = message;
  const { files: baseFiles, close } = openBaseFiles(baseFolder);
  const base = describeFiles(baseFiles);
  const adapter = parseAdapter(plan.adapter, base);
  const layout = taskLayout(adapter, base, plan.task);
  const state = await openState(stateFolder);
  const coordinator = await startCoordinator({
    plan,
    baseFiles,
    baseDigest: base.digest,
    layout,
    initialAdapter: initialValues(layout, adapter, plan.training.seed),
    stateFolder,
    state,
    host: '127.0.0.1',
    onEvent: (event) => parent.send({ type: 'event', event }),
  }).finally(close);
  const invites: string[] = [];
  for (const organisation of siteNames) invites.push(await coordinator.invite({ organisation }));
  parent.send({ type: 'ready', url: coordinator.url, invites });
  const { status, detail } = await coordinator.ended;
  const last = (await coordinator.versions()).at(-1);
  assert(last !== undefined, 'a federation has at least its initial version');
  const values = float32Of(await coordinator.adapter(last));
  // Sites look up what they were told in the log before they go.
  await coordinator.vacated(5_000);
  await coordinator.close();
  // Read after the end: clients were told of the last round only then.
  const { bytesUp: up, bytesDown: down } = coordinator.traffic();
  const { record, signature } = last;
  const lineage = { record, signature, coordinatorKey: toHex(state.identity.publicKey) };
  parent.send({ type: 'ended', status, detail, adapter: values, lineage, traffic: { up, down } });
  return false;
});
