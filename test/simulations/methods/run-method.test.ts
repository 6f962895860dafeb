import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { loadBase, pretrainedFolder } from '../../../shared/model/load.node.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import type { MethodCell } from '../../../simulations/methods/cells.ts';
import { contenders } from '../../../simulations/methods/contenders.ts';
import { runMethod } from '../../../simulations/methods/run-method.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

/** Texts of the letters of their label, three labels. */
function lines(count: number): string {
  const random = seededRandom(count, 'methods');
  const rows = Array.from({ length: count }, (_, index) => {
    const letters = ['abc', 'xyz', 'mno'][index % 3]!;
    const text = Array.from({ length: 4 + random.integer(5) }, () => letters[random.integer(3)]).join('');
    return JSON.stringify({ text, label: letters, client: 'one' });
  });
  return rows.join('\n');
}

describe('runMethod', () => {
  let folder = '';
  let base: LoadedBase;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-methods-'));
    mkdirSync(join(folder, 'clinc150'));
    for (const [part, count] of [
      ['train', 72],
      ['validation', 20],
      ['test', 30],
    ] as const)
      writeFileSync(join(folder, 'clinc150', `${part}.jsonl.gz`), gzipSync(lines(count)));
    await useBackend('cpu');
    base = await baseModelFrom(tinyBaseFiles());
  });
  after(() => {
    base.model.dispose();
    rmSync(folder, { recursive: true });
  });

  const run = (method: string, learningRate: number | null = 0.02) => {
    const settings = { rows: 60, testRows: 1000, passedOver: 5, epochs: 1, lengthMax: 12, batchSize: 8, learningRate };
    const cell: MethodCell = { set: 'clinc150', seed: 1, method, split: 'test', settings };
    return runMethod({ cell, folder, base, onProgress: () => {} });
  };

  it('[MRM-9] computes controls, an adapter and the fusion of adapters of groups, with their sizes', async () => {
    for (const method of ['naive-bayes', 'probe', 'ia3', 'fusion']) {
      const found = await run(method, method === 'naive-bayes' ? null : 0.02);
      assert.deepEqual([found.trainRows, found.testRows, found.diverged], [60, 25, false], method);
      assert.ok(found.accuracy > 0 && found.accuracy <= 1, method);
      assert.equal(found.updateBytes, 4 * (found.parameters + found.headParameters), method);
      assert.equal(found.parameters > 0, method === 'ia3' || method === 'fusion', method);
    }
  });

  it('[MRM-10] gives the same result twice', async () => {
    const [first, second] = [await run('bias'), await run('bias')];
    assert.deepEqual({ ...second, epochSeconds: 0 }, { ...first, epochSeconds: 0 });
  });

  it('[MRM-11] every adapter that is compared fits the base that ships', async () => {
    const { model } = await loadBase(pretrainedFolder());
    for (const { name, learner } of contenders)
      if (learner.kind === 'adapter')
        assert.ok(parseAdapter(learner.adapter, model.description).method.length > 0, name);
    model.dispose();
  });
});
