import { strict as assert } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { type AdapterDocument, createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { composeDocuments } from '../../shared/adapters/composition/compose-documents.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { type Plan, parsePlan } from '../../shared/plan/plan.ts';
import { taskLayout } from '../../shared/training/initial-adapter.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';

describe('preparing a federation', () => {
  let folder = '';
  let base: BaseDescription;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-prepare-'));
    base = await describeBase(await writeTinyBase(folder));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const planOf = (adapter: Plan['adapter']) =>
    parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'second stage',
        base: { digest: base.digest },
        task: { labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 },
        adapter,
        rounds: { count: 1, quorum: 2 },
      },
      'the plan',
    );
  const bottleneck = { method: 'bottleneck', size: 2 };

  function documentOf(fill: number): AdapterDocument {
    const { task } = planOf(bottleneck);
    const adapter = parseAdapter(bottleneck, base);
    const layout = taskLayout(adapter, base, task);
    const parameters = new Float32Array(layout.dim).fill(fill);
    return createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });
  }

  it('[PPR-1] begins with the values of an adapter where one is given: the second stage of a fusion, members frozen', async () => {
    const members = [1, 2].map((fill) => ({ id: `stage${fill}`, document: documentOf(fill) }));
    const { task } = planOf(bottleneck);
    const start = composeDocuments({ method: 'fuse', members, base, task, seed: 5 });
    const { layout, initialAdapter } = await prepareFederation(planOf(start.adapter), folder, 'the plan', start);
    assert.deepEqual(initialAdapter, start.parameters);
    for (const { name, offset, size, aggregationClass } of layout.tensors) {
      const fill = name.startsWith('stage1.') ? 1 : name.startsWith('stage2.') ? 2 : null;
      if (fill === null) continue;
      assert.equal(aggregationClass, 'frozen');
      assert.ok(initialAdapter.subarray(offset, offset + size).every((value) => value === fill));
    }
  });

  it('[PPR-2] refuses an adapter that is not the one of the plan', async () => {
    await assert.rejects(
      prepareFederation(planOf({ ...bottleneck, size: 3 }), folder, 'the plan', documentOf(1)),
      /the adapter to start from does not fit: .*bottleneck\.down\.kernel must be \[16,3\], it has it as \[16,2\]/,
    );
  });
});
