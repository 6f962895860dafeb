import { strict as assert } from 'node:assert';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { startValuesFrom } from '../../../shared/adapters/start-values.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { initialValues, taskLayout } from '../../../shared/training/initial-adapter.ts';
import { bertLike } from './bases.ts';

const base = bertLike(1, 8, 16);
const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;

function boundTo(adapter: Plan['adapter'], of: Plan['task'] = task) {
  const bound = parseAdapter(adapter, base);
  return { adapter: bound, layout: taskLayout(bound, base, of), task: of };
}

describe('start values from an adapter', () => {
  const bottleneck = { method: 'bottleneck', size: 2 };
  const { adapter, layout } = boundTo(bottleneck);
  const parameters = Float32Array.from({ length: layout.dim }, (_, index) => index + 1);
  const document = createAdapterDocument({ base, adapter: adapter.configuration, task, layout, parameters });

  it('[STV-1] for the same task they are the adapter and its head', () => {
    assert.deepEqual(startValuesFrom(document, { ...boundTo(bottleneck), seed: 1 }), parameters);
  });

  it('[STV-2] for another task the head starts anew from the seed', () => {
    for (const labels of [
      ['a', 'c'],
      ['a', 'b', 'c'],
    ]) {
      const other = boundTo(bottleneck, { ...task, labels });
      const start = startValuesFrom(document, { ...other, seed: 3 });
      const anew = initialValues(other.layout, other.adapter, 3);
      for (const { name, offset, size } of other.layout.tensors) {
        const expected = name.startsWith('head.') ? anew : parameters;
        assert.deepEqual(start.slice(offset, offset + size), expected.slice(offset, offset + size), name);
      }
    }
  });

  it('[STV-3] an adapter of other settings is refused, with the tensor that does not fit', () => {
    const start = (settings: Plan['adapter']) => () => startValuesFrom(document, { ...boundTo(settings), seed: 1 });
    assert.throws(
      start({ ...bottleneck, size: 3 }),
      /layers\.0\.feedForward\.bottleneck\.down\.kernel must be \[8,3\], it has it as \[8,2\]/,
    );
    assert.throws(
      start({ method: 'lora' }),
      /layers\.0\.q\.lora\.a must be \[8,8\], it has none; its method is bottleneck/,
    );
  });
});
