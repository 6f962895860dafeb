import { strict as assert } from 'node:assert';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Row } from '../../../shared/data/row.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import { runSkewOn, type SkewCell, type SkewResult } from '../../../simulations/methods/low-rank-skew.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

/** Texts of two letters of their topic, which all topics share, in an order of their own. */
function rowsOf(count: number, seed: number): Row[] {
  const random = seededRandom(seed, 'skew');
  const letters = ['abc', 'xyz', 'mno', 'qrs'];
  return Array.from({ length: count }, (_, index) => {
    const own = letters[index % 4]!;
    const text = Array.from({ length: 5 + random.integer(4) }, () => own[random.integer(3)]).join('');
    return { text, label: own, line: index + 1 };
  });
}

describe('federateByRule under label skew', () => {
  let base: LoadedBase;
  const found = new Map<string, SkewResult>();
  const settings: SkewCell['settings'] = {
    clientCount: 4,
    rounds: 3,
    rows: 64,
    testRows: 40,
    alpha: 0.05,
    rank: 2,
    lengthMax: 10,
    batchSize: 8,
    learningRate: 0.03,
  };
  before(async () => {
    await useBackend('cpu');
    base = await baseModelFrom(tinyBaseFiles());
    for (const method of ['factor-avg', 'freeze-a', 'share-a', 'svd'] as const) {
      const cell: SkewCell = { method, dealing: 'skewed', seed: 3, settings };
      found.set(method, await runSkewOn({ cell, base, train: rowsOf(64, 1), test: rowsOf(40, 2) }));
    }
  });
  after(() => base.model.dispose());
  const of = (method: string) => found.get(method)!;

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
