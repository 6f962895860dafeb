import { strict as assert } from 'node:assert';
import { ones, type Tensor2D } from '@tensorflow/tfjs-core';
import { dropout } from '../../../shared/adapters/dropout.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';

describe('dropout', () => {
  before(() => useBackend('wasm'));

  const input = (): Tensor2D => ones([100, 40]);
  const masks = (site: string, seed = 1) => [
    ...dropout(input(), 0.25, { training: true, random: seededRandom(seed) }, site).dataSync(),
  ];

  it('[DPO-1] drops the share that it should and scales the rest', () => {
    const values = masks('here');
    const dropped = values.filter((value) => value === 0).length;
    assert.ok(Math.abs(dropped / values.length - 0.25) < 0.03, `${dropped} of ${values.length}`);
    assert.ok(values.every((value) => value === 0 || Math.abs(value - 4 / 3) < 1e-6));
  });

  it('[DPO-2] a place has one mask per seed, whatever was drawn before, and two places have two', () => {
    assert.deepEqual(masks('here'), masks('here'));
    assert.notDeepEqual(masks('here'), masks('there'));
    assert.notDeepEqual(masks('here', 1), masks('here', 2));
  });

  it('[DPO-3] in evaluation, and at probability 0, the input passes untouched', () => {
    const given = input();
    assert.equal(dropout(given, 0.25, { training: false, random: seededRandom(1) }, 'here'), given);
    assert.equal(dropout(given, 0, { training: true, random: seededRandom(1) }, 'here'), given);
  });
});
