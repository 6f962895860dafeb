import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { checkDevice } from '../../../shared/compute/canary.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { computeWrong } from '../../helpers/wrong-products.ts';
import { requireNative } from './native/available.ts';

describe('checkDevice', () => {
  for (const backend of ['cpu', 'wasm', 'native'] as const) {
    it(`[CNY-1] passes where the back end computes right, and leaves nothing behind: ${backend}`, async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
      const { numTensors } = memory();
      await checkDevice();
      assert.equal(memory().numTensors, numTensors);
    });
  }

  for (const [fault, wrong] of [
    ['one value off', 1],
    ['not a number', Number.NaN],
  ] as const) {
    it(`[CNY-2] finds a product that comes out wrong: ${fault}`, async () => {
      await useBackend('cpu');
      const mend = computeWrong(wrong);
      try {
        await assert.rejects(checkDevice(), (thrown: unknown) => {
          assert.ok(thrown instanceof FederationError && thrown.code === 'device-computes-wrong');
          assert.match(thrown.message, /value \d+ of a product with a softmax is .*, expected .*; restart the client/);
          return true;
        });
      } finally {
        mend();
      }
    });
  }
});
