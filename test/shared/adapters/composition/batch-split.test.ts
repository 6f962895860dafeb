import { strict as assert } from 'node:assert';
import { mul, ones, slice, sum, type Tensor, type Tensor2D, type Tensor3D, tensor } from '@tensorflow/tfjs-core';
import { batchSplitHooks } from '../../../../shared/adapters/composition/batch-split.ts';
import { parallelHooks } from '../../../../shared/adapters/composition/parallel.ts';
import type { AdapterContext } from '../../../../shared/adapters/method.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { useBackend } from '../../../../shared/compute/backend.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { BaseModel, FrozenMap } from '../../../../shared/model/base-model.ts';
import { networkFrom } from '../../../../shared/model/load.ts';
import { tinyBaseFiles } from '../../../helpers/tiny-base.ts';
import { bertLike } from '../bases.ts';
import { assertClose, assertGradients, evaluating, randomMatrix, randomTensors } from '../checks.ts';
import { hostResult, randomStates, tensorsOf } from '../sublayer-host.ts';

const base = bertLike(2, 6, 12);
const bottleneck = (id: string, further: object = {}) => ({
  id,
  method: 'bottleneck',
  size: 3,
  layers: [0],
  ...further,
});
const pair = [bottleneck('a'), bottleneck('b', { size: 2 })];

function valuesOf(found: Tensor): Float32Array {
  return found.dataSync() as Float32Array;
}

describe('batch split and parallel', () => {
  let model: BaseModel;
  before(async () => {
    await useBackend('wasm');
    model = networkFrom(tinyBaseFiles());
  });
  after(() => model.dispose());

  const members = [
    { id: 'a', method: 'bottleneck', size: 3 },
    { id: 'b', method: 'lora', targets: 'all-linear', rank: 2 },
  ];
  const batch = (rowCount: number) => ({
    inputIds: tensor(
      Int32Array.from({ length: rowCount * 5 }, (_, index) => (index * 37) % 200),
      [rowCount, 5],
      'int32',
    ) as never,
    attentionMask: tensor(new Int32Array(rowCount * 5).fill(1), [rowCount, 5], 'int32') as never,
  });

  it('[CMP-8] every row is what its adapter alone, or the base alone, makes of it', () => {
    const whole = parseAdapter({ method: 'batch-split', members }, model.description);
    const parameters = randomTensors(whole, 0.3);
    const rows = [1, -1, 0, 1, 0];
    const inputs = batch(rows.length);
    const found = model.encode(inputs, whole.hooks({ ...evaluating(parameters), rows }));
    // As a server does it, with adapters that were bound alone.
    const served = members.map(({ id, ...settings }) =>
      parseAdapter(settings as never, model.description).hooks(evaluating(tensorsOf(id, parameters))),
    );
    assert.deepEqual(valuesOf(model.encode(inputs, batchSplitHooks(served, rows))), valuesOf(found));
    const alone = members.map(({ id, ...settings }) =>
      model.encode(
        inputs,
        parseAdapter(settings as never, model.description).hooks(evaluating(tensorsOf(id, parameters))),
      ),
    );
    const plain = model.encode(inputs);
    for (const [row, place] of rows.entries()) {
      const of = (states: Tensor3D) => [...valuesOf(slice(states, [row, 0, 0], [1, 5, 16]))];
      assertClose(of(found), of(alone[place] ?? plain), 2e-5);
    }
  });

  it('[CMP-9] parallel adapters are each what they are alone', () => {
    const settings = members.map(({ id: _id, ...rest }) => parseAdapter(rest as never, model.description));
    const hooks = settings.map((adapter) => adapter.hooks(evaluating(randomTensors(adapter, 0.3))));
    const inputs = batch(2);
    const found = model.encode(inputs, parallelHooks(hooks));
    assert.deepEqual(found.shape, [4, 5, 16]);
    for (const [place, own] of hooks.entries()) {
      const part = slice(found, [2 * place, 0, 0], [2, 5, 16]);
      assertClose(valuesOf(part), [...valuesOf(model.encode(inputs, own))], 2e-5);
    }
  });

  it('[CMP-10] gradients of rows in any order equal finite differences', () => {
    const split = parseAdapter({ method: 'batch-split', members: pair }, base);
    const states = randomStates([4, 2, 6]);
    const context = (parameters: ReadonlyMap<string, Tensor>): AdapterContext => ({
      ...evaluating(parameters),
      rows: [1, 0, -1, 1],
    });
    assertGradients(randomTensors(split), (parameters) =>
      sum(mul(hostResult(split, context(parameters), base, states), states.residual)),
    );
  });

  it('[CMP-22] gradients of adapters side by side equal finite differences', () => {
    const parallel = parseAdapter({ method: 'parallel', members: pair }, base);
    const states = randomStates([4, 2, 6]);
    assertGradients(randomTensors(parallel), (parameters) =>
      sum(mul(hostResult(parallel, evaluating(parameters), base, states), states.residual)),
    );
  });

  it('[CMP-21] where nothing says whose rows are whose, members take turns, also those of a split member in its own rows', () => {
    const loras = (...ids: readonly string[]) => ids.map((id) => ({ id, method: 'lora', rank: 1, targets: ['q'] }));
    const nested = parseAdapter(
      { method: 'batch-split', members: [...loras('a'), { id: 'n', method: 'batch-split', members: loras('b', 'c') }] },
      base,
    );
    const parameters = randomTensors(nested);
    const map: FrozenMap = { apply: (rows) => rows, kernel: () => input, bias: () => null };
    const input = randomMatrix(8, 6, seededRandom(4));
    const run = (adapter: typeof nested, named: ReadonlyMap<string, Tensor>) => {
      const attentionMask = ones([4, 2], 'int32') as Tensor2D;
      const hooks = adapter.hooks({ ...evaluating(named), attentionMask });
      return [...hooks.linear!({ layerIndex: 0, target: 'q' }, input, input, map)!.dataSync()];
    };
    const found = run(nested, parameters);
    const single = parseAdapter({ method: 'lora', rank: 1, targets: ['q'] }, base);
    for (const [row, prefix] of ['a.', 'n.b.', 'a.', 'n.c.'].entries()) {
      const own = new Map(
        [...parameters].flatMap(([name, value]) =>
          name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
        ),
      );
      const part = [row * 12, (row + 1) * 12] as const;
      assertClose(found.slice(...part), run(single, own).slice(...part), 1e-5);
    }
  });

  it('[CMP-11] rows that are not those of the batch are refused', () => {
    const split = parseAdapter({ method: 'batch-split', members: pair }, base);
    const run = (rows?: readonly number[]) => () =>
      hostResult(split, { ...evaluating(randomTensors(split)), ...(rows && { rows }) }, base, randomStates([2, 2, 6]));
    assert.throws(run(), /needs to know which row belongs to which member/);
    assert.throws(run([0]), /the members of 1 rows are known, the batch has 2/);
    assert.throws(run([0, 2]), /row 1 belongs to the member 2; there are 0 to 1, and -1 for none/);
  });
});
