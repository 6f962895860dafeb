import { strict as assert } from 'node:assert';
import {
  type AdapterDocument,
  contentOfDocument,
  createAdapterDocument,
} from '../../../../shared/adapters/adapter-document.ts';
import { composeDocuments } from '../../../../shared/adapters/composition/compose-documents.ts';
import { adapterOnBase } from '../../../../shared/adapters/document-on-base.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { memorySource } from '../../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../../shared/model/base-model.ts';
import { networkFrom } from '../../../../shared/model/load.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import { defaultTraining } from '../../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../../shared/training/task-model.ts';
import { trainLocally } from '../../../../shared/training/train.ts';
import { unflatten } from '../../../../shared/update/vector.ts';
import { tinyBaseFiles } from '../../../helpers/tiny-base.ts';

const task = { kind: 'classification', labels: ['low', 'high'], pooling: 'mean', lengthMax: 8 } as const;

describe('composing documents', () => {
  let base: BaseModel;
  before(async () => {
    await useBackend('wasm');
    base = networkFrom(tinyBaseFiles());
  });
  after(() => base.dispose());

  /** Texts whose tokens are small or large numbers. */
  const source = memorySource(
    Array.from({ length: 24 }, (_, index) => {
      const start = index % 2 === 0 ? 10 : 150;
      return {
        ids: Int32Array.from({ length: 4 }, (__, place) => start + ((7 * index + place) % 60)),
        targets: Int32Array.of(index % 2),
      };
    }),
  );

  async function trained(adapter: Plan['adapter'], seed: number, start?: Float32Array) {
    const bound = parseAdapter(adapter, base.description);
    const model = createTaskModel({ base, adapter: bound, task });
    const { localEpochs: _localEpochs, ...settings } = defaultTraining;
    const configuration = { ...settings, localSteps: 12, batchSize: 8, learningRate: 0.02 };
    const result = await trainLocally({ model, start: start ?? model.initialise(seed), source, configuration, seed });
    const fixed = { base: base.description, adapter: bound.configuration, task, layout: model.layout };
    return { document: createAdapterDocument({ ...fixed, parameters: result.parameters }), result };
  }

  const bottleneck = { method: 'bottleneck', size: 3 };
  const values = ({ layout, parameters }: AdapterDocument) => unflatten(layout, parameters);

  it('[CDO-1] two stages: adapters, then their fusion with them frozen bit for bit', async () => {
    const members = await Promise.all([1, 2].map(async (seed) => (await trained(bottleneck, seed)).document));
    const named = members.map((document, index) => ({ id: `stage${index}`, document }));
    const start = composeDocuments({ method: 'fuse', members: named, base: base.description, task, seed: 3 });
    assert.deepEqual(
      (start.adapter.members as { content: string }[]).map(({ content }) => content),
      members.map((document) => contentOfDocument(document)),
    );
    adapterOnBase(start, base.description);
    const { document, result } = await trained(start.adapter, 3, start.parameters);
    const after = values(document);
    for (const { id, document: member } of named) {
      for (const [name, own] of values(member))
        if (!name.startsWith('head.')) assert.deepEqual(after.get(`${id}.${name}`), own);
    }
    const before = values(start);
    const changed = [...after].filter(([name, own]) => own.some((value, index) => value !== before.get(name)![index]));
    assert.deepEqual(
      changed.map(([name]) => name).filter((name) => !name.startsWith('fusion.') && !name.startsWith('head.')),
      [],
    );
    assert.ok(changed.some(([name]) => name === 'fusion.layers.0.feedForward.query.kernel'));
    assert.ok(result.meanLoss < 0.7);
  });

  it('[CDO-2] members with a head for the same task lend the composition the mean of their heads', async () => {
    const members = await Promise.all([1, 2].map(async (seed) => (await trained(bottleneck, seed)).document));
    const named = members.map((document, index) => ({ id: `a${index}`, document }));
    const options = { method: 'average', members: named, base: base.description, seed: 3 };
    const bias = (document: AdapterDocument) => values(document).get('head.bias')!;
    const [first, second] = members.map(bias) as [Float32Array, Float32Array];
    const found = bias(composeDocuments({ ...options, task }));
    for (const index of [0, 1]) assert.ok(Math.abs(found[index]! - (first[index]! + second[index]!) / 2) < 1e-6);
    const other = { ...task, labels: ['x', 'y', 'z'] };
    assert.deepEqual([...bias(composeDocuments({ ...options, task: other }))], [0, 0, 0]);
  });

  it('[CDO-3] an adapter of another base is refused', async () => {
    const { document } = await trained(bottleneck, 1);
    const members = [{ id: 'a', document }];
    const elsewhere = networkFrom(tinyBaseFiles(2));
    assert.throws(
      () => composeDocuments({ method: 'stack', members, base: elsewhere.description, task, seed: 1 }),
      /this adapter was made for the gpt2 with digest/,
    );
    elsewhere.dispose();
  });
});
