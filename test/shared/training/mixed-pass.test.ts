import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { type MixedRow, type Resident, residentOf, scoreMixed } from '../../../shared/training/mixed-pass.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { requireNative } from '../compute/native/available.ts';
import { fixtureBase, largestError } from '../model/fixtures.ts';

const ofLabels = (count: number, pooling: 'mean' | 'first'): Task => ({
  kind: 'classification',
  labels: Array.from({ length: count }, (_, label) => `label ${label}`),
  pooling,
  lengthMax: 8,
});
const tags: Task = { kind: 'tokens', labels: ['O', 'B-X'], lengthMax: 8 };

/** What a server holds at once: four of one form, and one of every other way to share a pass or not to. */
const served: readonly (readonly [adapter: Plan['adapter'], task: Task, sharing: Resident['sharing']])[] = [
  [{ method: 'lora', rank: 2 }, ofLabels(2, 'mean'), 'stack'],
  [{ method: 'lora', rank: 2 }, ofLabels(5, 'first'), 'stack'],
  [{ method: 'lora', rank: 2 }, tags, 'stack'],
  [{ method: 'lora', rank: 2 }, { ...ofLabels(3, 'mean'), head: { hidden: 'tanh' } } as Task, 'stack'],
  [{ method: 'lora', rank: 3 }, ofLabels(3, 'mean'), 'stack'],
  [{ method: 'bottleneck', size: 3 }, ofLabels(3, 'mean'), 'stack'],
  [{ method: 'bottleneck', size: 3 }, ofLabels(2, 'mean'), 'stack'],
  [{ method: 'dora', rank: 2 }, ofLabels(2, 'mean'), 'split'],
  [{ method: 'ia3' }, ofLabels(3, 'mean'), 'split'],
  [{ method: 'none' }, ofLabels(3, 'mean'), 'split'],
  [{ method: 'prompt', length: 2 }, ofLabels(3, 'mean'), 'alone'],
  [{ method: 'prefix', length: 2 }, ofLabels(2, 'first'), 'alone'],
  [{ method: 'bias' }, tags, 'split'],
  [{ method: 'full' }, ofLabels(2, 'mean'), 'alone'],
];

function loaded(): LoadedBase {
  return { model: fixtureBase('bert'), tokenizer: { padId: 0, maskId: null } as LoadedBase['tokenizer'] };
}

/** An adapter with random values everywhere, so that no two agree. */
function residentFor(base: LoadedBase, adapter: Plan['adapter'], task: Task, seed: number): Resident {
  const bound = parseAdapter(adapter, base.model.description);
  const { layout } = createTaskModel({ base: base.model, adapter: bound, task });
  const random = seededRandom(seed, 'values');
  const parameters = Float32Array.from({ length: layout.dim }, () => 0.3 * random.normal());
  const { description } = base.model;
  return residentOf(createAdapterDocument({ base: description, adapter, task, layout, parameters }), base);
}

function rowsOf(residents: readonly Resident[], count: number): MixedRow[] {
  const random = seededRandom(5, 'rows');
  return Array.from({ length: count }, (_, index): MixedRow => {
    const resident = residents[random.integer(residents.length)]!;
    const ids = Int32Array.from({ length: 3 + (index % 5) }, () => random.integer(50));
    const targets = resident.model.task.task.kind === 'tokens' ? ids.map(() => 0) : Int32Array.of(0);
    return { resident, example: { ids, targets } };
  });
}

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`a pass for many adapters on ${backend}`, () => {
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });

    it('[MXP-1] gives every text what its adapter alone gives it, whatever else is in the pass', async () => {
      const base = loaded();
      const residents = served.map(([adapter, task], index) => residentFor(base, adapter, task, index));
      assert.deepEqual(
        residents.map(({ sharing }) => sharing),
        served.map(([, , sharing]) => sharing),
      );
      const rows = rowsOf(residents, 60);
      await scoreMixed(base, rows);
      // Copies of frozen weights are made by then.
      const before = memory().numTensors;
      const together = await scoreMixed(base, rows);
      assert.equal(memory().numTensors, before);
      const seen = new Set<Resident>();
      for (const [index, row] of rows.entries()) {
        const [alone] = await scoreMixed(base, [row]);
        assert.equal(together[index]!.length, alone!.length);
        for (const [state, scores] of alone!.entries()) {
          const error = largestError(together[index]![state]!, scores);
          assert.ok(error < 2e-5, `${row.resident.form}: off by ${error}`);
        }
        seen.add(row.resident);
      }
      assert.equal(seen.size, residents.length);
      for (const { dispose } of residents) dispose();
      base.model.dispose();
    });
  });
}

describe('a pass for one text', () => {
  before(() => useBackend('cpu'));

  it('[MXP-2] is what the task model of its adapter computes', async () => {
    const base = loaded();
    for (const [index, [adapter, task]] of served.entries()) {
      const resident = residentFor(base, adapter, task, index);
      const [row] = rowsOf([resident], 1);
      const [scores] = await scoreMixed(base, [row!]);
      const { model, values } = resident;
      const { splitFlat, nameTensors } = await import('../../../shared/training/parameters.ts');
      const parameters = nameTensors(splitFlat(values, model.layout), model.layout);
      const arranged = model.arrange([row!.example], () => seededRandom(0));
      const mode = { training: false, random: seededRandom(0) };
      const expected = model.scores(parameters, model.states(parameters, arranged, mode)).dataSync();
      assert.ok(largestError(Float32Array.from(scores!.flatMap((one) => [...one])), expected as Float32Array) < 1e-5);
    }
  });

  it('[MXP-3] keeps adapters of one form and different values apart', async () => {
    const base = loaded();
    const [adapter, task] = served[0]!;
    const residents = [1, 2, 3].map((seed) => residentFor(base, adapter, task, seed));
    const example = { ids: Int32Array.of(4, 5, 6), targets: Int32Array.of(0) };
    const rows = [0, 1, 2, 1, 1].map((place) => ({ resident: residents[place]!, example }));
    const [first, second, third, again] = (await scoreMixed(base, rows)).map(([one]) => one!);
    assert.ok(largestError(first!, second!) > 1e-2 && largestError(second!, third!) > 1e-2);
    assert.ok(largestError(second!, again!) < 1e-5);
  });
});
