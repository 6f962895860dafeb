import { strict as assert } from 'node:assert';
import { closeWorlds } from '../coordinator/harness.ts';
import { divide } from './masked-partition.ts';

describe('a masked federation of which too many are cut off', () => {
  afterEach(closeWorlds);

  // Of ten seven are needed.
  for (const moment of ['MASKED', 'UNMASK'] as const)
    it(`[network-partition] four of ten before ${moment}: void by the deadlines, then done with all; history is one line`, async () => {
      assert.deepEqual(await divide(moment, 4), ['void', 10, 10]);
    });
});
