import { strict as assert } from 'node:assert';
import { useBackend } from '../../../shared/compute/backend.ts';
import { baseModelFrom } from '../../../shared/model/load.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';
import { skewed } from './skew-world.ts';

describe('low-rank rules under label skew, five seeds', () => {
  it('[MET-16] in the mean averaged factors publish more from even labels, and no less than a shared A in any seed', async () => {
    await useBackend('cpu');
    const base = await baseModelFrom(tinyBaseFiles());
    let [even, averaged, shared] = [0, 0, 0];
    for (const seed of [1, 2, 3, 4, 5]) {
      const own = (await skewed(base, { method: 'factor-avg', dealing: 'skewed', seed })).published;
      const other = (await skewed(base, { method: 'share-a', dealing: 'skewed', seed })).published;
      even += (await skewed(base, { method: 'factor-avg', dealing: 'even', seed })).published / 5;
      assert.ok(own >= other, `seed ${seed}: ${own} and ${other}`);
      averaged += own / 5;
      shared += other / 5;
    }
    base.model.dispose();
    assert.ok(even > averaged + 0.2, `${even} and ${averaged}`);
    assert.ok(averaged > shared + 0.1, `${averaged} and ${shared}`);
  });
});
