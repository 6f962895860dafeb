/** Computes on WebGPU, started where a graphics device, or software in place of one, is found. Prints what it saw as JSON. */

import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { engine, fill, matMul, memory, mul, slice, sum, type Tensor2D, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { checkDevice } from '../../../shared/compute/canary.ts';
import { errorMessage, FederationError } from '../../../shared/core/errors.ts';

const { rejected } = await useBackend('auto');
const { name, device, isSoftware } = await useBackend('webgpu');
await checkDevice();
const tensorCount = memory().numTensors;

/** Reads at once while another reading waits: both have to get their values, in whatever order. */
async function readTogether(): Promise<readonly number[]> {
  const left = fill([64, 64], 2);
  const [first, second] = tidy(() => [matMul(left, left), sum(mul(left, 3))]) as [Tensor2D, Tensor2D];
  const waiting = first.data();
  const [now] = second.dataSync();
  const [later] = await waiting;
  const corner = tidy(() => slice(mul(first, 2), [63, 63], [1, 1]).dataSync()[0]!);
  for (const one of [left, first, second]) one.dispose();
  return [now!, later!, corner];
}

const values = await readTogether();
const left = memory().numTensors - tensorCount;

async function codeAfterLoss(): Promise<string> {
  const backend = engine().backend as WebGPUBackend;
  backend.device.destroy();
  await backend.device.lost;
  try {
    await checkDevice();
    return 'none';
  } catch (thrown) {
    return thrown instanceof FederationError ? `${thrown.code}: ${thrown.message}` : errorMessage(thrown);
  }
}

const loss = await codeAfterLoss();
// Asked for again, it gets a new device.
await useBackend('webgpu');
await checkDevice();
console.log(JSON.stringify({ name, device, isSoftware, rejected, values, left, loss }));
