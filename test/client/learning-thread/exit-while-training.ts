/**
 * A process that exits while its learner computes: writes which modules its own thread has loaded by then, and ends with code 3. Arguments:
 * the back end, a plan as JSON, the folder of its base.
 */
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import type { Plan } from '../../../shared/plan/plan.ts';

const loaded: string[] = [];
registerHooks({
  load: (url, context, next) => {
    loaded.push(url);
    return next(url, context);
  },
});
await import('../../../client/index.ts');
await import('../../../client/commands/client.ts');
const { siteLearner } = await import('../../../client/node.ts');
const { openByteFile } = await import('../../../shared/model/byte-file.node.ts');

const [backend, plan, folder] = process.argv.slice(2) as [BackendName, string, string];
const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
const files = new Map(names.map((name) => [name, openByteFile(join(folder, name))]));
const train = Array.from({ length: 200 }, (_, index) => ({ text: `some words ${index}`, label: 'ab'[index % 2] }));
const learner = await siteLearner({ records: { train, heldOut: [] }, backend });
const prepared = await learner.prepare(JSON.parse(plan) as Plan, files);
const start = await prepared.initialise!(1);
const { signal } = new AbortController();
const onProgress = ({ stepsDone }: { readonly stepsDone: number }): void => {
  if (stepsDone === 2) process.stdout.write(JSON.stringify(loaded), () => process.exit(3));
};
await prepared.train({ start, frozen: null, roundIndex: 0, signal, onProgress });
