import { strict as assert } from 'node:assert';
import { useBackend } from '../../../shared/compute/backend.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import type { SkewResult } from '../../../simulations/methods/low-rank-skew.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';
import { skewed } from './skew-world.ts';

describe('federateByRule under label skew', () => {
  let base: LoadedBase;
  const found = new Map<string, SkewResult>();
  before(async () => {
    await useBackend('cpu');
    base = await baseModelFrom(tinyBaseFiles());
    for (const method of ['factor-avg', 'freeze-a', 'share-a', 'svd'] as const)
      found.set(method, await skewed(base, { method, dealing: 'skewed', seed: 3 }));
    found.set('even', await skewed(base, { method: 'factor-avg', dealing: 'even', seed: 3 }));
  });
  after(() => base.model.dispose());
  const of = (method: string) => found.get(method)!;

  it('[MET-12] averaged factors publish more from evenly dealt labels than from skewed ones, and more than a shared A does', () => {
    assert.ok(of('even').published > of('factor-avg').published + 0.1);
    assert.ok(of('factor-avg').published > of('share-a').published + 0.1);
  });

  it('[MET-13] averaging each factor for itself is off, averaging B alone is not', () => {
    assert.ok(of('factor-avg').measures['factor-bias']! > 0.01, JSON.stringify(of('factor-avg').measures));
    assert.equal(of('freeze-a').measures['factor-bias'] ?? 0, 0);
  });

  it('[MET-14] freeze-a and share-a send about half of the factors, svd all of them', () => {
    const bytes = (method: string) => of(method).updateBytes;
    assert.ok(bytes('freeze-a') < bytes('factor-avg'));
    assert.ok(bytes('share-a') < bytes('factor-avg'));
    assert.equal(bytes('svd'), bytes('factor-avg'));
  });

  it('[MET-15] only share-a leaves parts with the clients', () => {
    for (const [method, { published, personalised }] of found)
      if (method !== 'share-a') assert.ok(Math.abs(personalised - published) < 1e-9, method);
  });
});
