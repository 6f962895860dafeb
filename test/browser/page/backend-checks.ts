/** What every back end has to do in a browser: compute right, train like the plain back end, agree with the reference implementations. */
import { engine } from '@tensorflow/tfjs-core';
import { type BackendName, useBackend } from '../../../shared/compute/backend.ts';
import { checkDevice } from '../../../shared/compute/canary.ts';
import { errorMessage } from '../../../shared/core/errors.ts';
import { runParity } from '../../parity/parity.ts';
import { asynchronousCases, representativeCases } from '../../parity/representative.ts';
import { strict as assert } from '../stand-ins/assert.ts';
import { loseContext } from './lost-context.ts';
import { type PageResult, runChecks } from './results.ts';
import { prepareTraining, trainedMethods, trainPrepared } from './training.ts';

/** Largest difference to the plain back end, of the whole update in relation to its length, and of the loss. */
const tolerance = 2e-3;

/** Runs everything on one back end. */
export async function checkBackend(name: BackendName): Promise<PageResult> {
  let device: string | null;
  try {
    ({ device } = await useBackend(name));
  } catch (thrown) {
    return { kind: 'not-run', reason: errorMessage(thrown) };
  }
  const checks = await runChecks([
    ['[BRW-1] the canary computes right and leaves nothing behind', checkCanary],
    ...trainedMethods.map((method) => {
      return [
        `[BRW-2] three steps of ${method.method} equal the plain back end's`,
        () => checkTraining(name, method),
      ] as const;
    }),
    ['[BRW-3] outputs and gradients equal the reference implementations', () => checkParity(name)],
    ...(name === 'webgl' || name === 'webgpu'
      ? [
          [
            '[BRW-4] a client leaves the round, with the reason, when its device is lost',
            () => loseContext(name),
          ] as const,
        ]
      : []),
    ...(name === 'wasm' ? [['[BRW-10] auto passes by graphics in software, with the reason', checkAuto] as const] : []),
  ]);
  return { kind: 'run', device, checks };
}

/** The browser of these tests has no graphics card, whatever the machine has. */
async function checkAuto(): Promise<void> {
  const { name, rejected } = await useBackend('auto');
  assert.equal(name, 'wasm', JSON.stringify(rejected));
  assert.deepEqual(
    rejected.map((miss) => miss.name),
    ['webgpu', 'webgl'],
  );
  for (const { reason } of rejected)
    assert.match(reason, /^there is no graphics card, only software in place of one \(/);
}

async function checkCanary(): Promise<void> {
  const { numTensors } = engine().memory();
  await checkDevice();
  assert.equal(engine().memory().numTensors, numTensors);
}

async function checkTraining(name: BackendName, method: (typeof trainedMethods)[number]): Promise<void> {
  const [found, expected] = [await trainOn(name, method), await trainOn('cpu', method)];
  await useBackend(name);
  const size = (values: readonly number[]) => Math.hypot(...values);
  const differences = Array.from(expected.delta, (value, index) => value - found.delta[index]!);
  const length = size(Array.from(expected.delta));
  assert.ok(length > 0.01, `the plain back end learned ${length}`);
  const error = size(differences) / length;
  assert.ok(error < tolerance, `the update differs by ${error.toExponential(1)} of its length`);
  assert.ok(
    Math.abs(found.meanLoss - expected.meanLoss) < tolerance,
    `loss ${found.meanLoss}, expected ${expected.meanLoss}`,
  );
}

async function trainOn(name: BackendName, method: (typeof trainedMethods)[number]) {
  const learning = await prepareTraining(name, method);
  try {
    return await trainPrepared(learning);
  } finally {
    learning.dispose();
  }
}

async function checkParity(name: BackendName): Promise<void> {
  // The suite calls operations as methods of tensors, which the product does not.
  await import('@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js');
  const lines: string[] = [];
  const { passed, run } = await runParity({
    fixtures: '/files/test/parity/fixtures',
    backends: [name],
    strict: false,
    only: name === 'webgpu' ? asynchronousCases : representativeCases,
    print: (line) => lines.push(line),
  });
  for (const line of lines) console.log(line);
  assert.ok(passed && run >= 5, lines.join('\n'));
}
