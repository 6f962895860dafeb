import { strict as assert } from 'node:assert';
import { closeWorlds } from '../coordinator/harness.ts';
import { divide, moments } from './masked-partition.ts';

describe('a masked federation whose network is divided', () => {
  afterEach(closeWorlds);

  for (const [moment, contributorCount] of moments)
    it(`[network-partition] three of ten before ${moment}: done by the deadlines with ${contributorCount}, then with all; history is one line`, async () => {
      assert.deepEqual(await divide(moment, 3), [contributorCount, 10]);
    });
});
