import { strict as assert } from 'node:assert';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { requireNative } from './available.ts';
import { runSteps } from './steps.ts';

const [stretches, stepsPerStretch] = [5, 2000];
const mebibyte = 2 ** 20;

/** What the process holds once everything that nobody holds is collected: else the engine's laziness counts as a leak. */
function held(collect: () => void) {
  collect();
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { used: heapUsed + external, resident: rss };
}

describe('memory over many steps', () => {
  for (const backend of ['native', 'wasm'] as const) {
    it(`[NAP-4] 10,000 steps leave no tensor and less than 256 bytes a step: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      await useBackend(backend);
      await runSteps(500);
      const tensors = memory().numTensors;
      const after = [held(collect)];
      for (let stretch = 0; stretch < stretches; stretch++) {
        await runSteps(stepsPerStretch);
        assert.equal(memory().numTensors, tensors);
        after.push(held(collect));
      }
      const shown = (name: 'used' | 'resident') => after.map((found) => (found[name] / mebibyte).toFixed(1)).join(', ');
      console.log(`      ${backend}, MiB after each ${stepsPerStretch} steps: resident ${shown('resident')}`);
      console.log(`      ${backend}: held ${shown('used')}`);
      const [first, , third] = after as [(typeof after)[0], unknown, (typeof after)[0]];
      const last = after.at(-1)!;
      assert.ok(last.used - first.used < 256 * stretches * stepsPerStretch, `held ${shown('used')} MiB`);
      // Young space reaches its size in the first stretches.
      assert.ok(last.resident - third.resident < 32 * mebibyte, `resident ${shown('resident')} MiB`);
      await useBackend('cpu');
    });
  }
});
