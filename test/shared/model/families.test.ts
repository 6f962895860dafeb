import { strict as assert } from 'node:assert';
import { type Tensor, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { allFixtures, expectedValues, fixtureBase, fixtureBatch, fixtureExpected, largestError } from './fixtures.ts';

const tolerance = 2e-4;

for (const backend of ['cpu', 'wasm'] as const) {
  for (const family of allFixtures) {
    describe(`${family} on ${backend}`, () => {
      before(() => useBackend(backend));

      it('[FAM-1] gives the hidden states and scores of the reference', () => {
        const expected = fixtureExpected(family);
        const model = fixtureBase(family);
        tidy(() => {
          const states: Tensor[] = [];
          const last = model.encode(fixtureBatch(family), undefined, (hidden) => states.push(hidden));
          assert.equal(states.length, model.description.layerCount + 1);
          for (const [index, state] of states.entries()) {
            const name = `hidden_states.${index}`;
            if (!expected.tensors.has(name)) continue;
            const error = largestError(state.dataSync(), expectedValues(expected, name));
            assert.ok(error <= tolerance, `${name} is off by ${error}`);
          }
          const scores = model.languageModelScores(last);
          const error = largestError(scores.dataSync(), expectedValues(expected, 'logits'));
          assert.ok(error <= tolerance, `logits are off by ${error}`);
        });
        model.dispose();
      });
    });
  }
}
