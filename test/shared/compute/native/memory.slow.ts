import { strict as assert } from 'node:assert';
import process from 'node:process';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { runSteps } from './steps.ts';

describe('memory of the native back end over many steps', () => {
  it('[NAP-4] 10,000 steps leave no tensor and less than 1 KiB a step of the process', async () => {
    await useBackend('native');
    await runSteps(500);
    const tensors = memory().numTensors;
    const residentBefore = process.memoryUsage().rss;
    await runSteps(10_000);
    assert.equal(memory().numTensors, tensors);
    const grown = process.memoryUsage().rss - residentBefore;
    assert.ok(grown < 10_000 * 1024, `the process grew by ${Math.round(grown / 1024)} KiB`);
    await useBackend('cpu');
  });
});
