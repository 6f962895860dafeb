import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { baseModelFrom, type LoadedBase } from '../../../shared/model/load.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { groupSizeOf, trainClients } from '../../../shared/training/train-together.ts';
import type { Cell } from '../../../simulations/experiments/cells.ts';
import { drawRows } from '../../../simulations/experiments/data.ts';
import { federate } from '../../../simulations/experiments/in-process.ts';
import { runCell } from '../../../simulations/experiments/run-cell.ts';
import { methods, sets, trainingOf } from '../../../simulations/experiments/settings.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

const owners = ['GARD', 'GHR', 'NIDDK', 'NINDS', 'NHLBI', 'MPlus', 'CancerGov', 'Senior', 'CDC'];

function lines(count: number, seed: number): string {
  const random = seededRandom(seed, 'cells');
  const rows = Array.from({ length: count }, (_, index) => {
    const letters = index % 2 === 0 ? 'abc' : 'xyz';
    const text = Array.from({ length: 4 + random.integer(5) }, () => letters[random.integer(3)]).join('');
    return JSON.stringify({ text, label: index % 2 === 0 ? 'early' : 'late', client: owners[index % 9] });
  });
  return rows.join('\n');
}

describe('runCell', () => {
  let folder = '';
  let base: LoadedBase;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-cells-'));
    mkdirSync(join(folder, 'medquad'));
    for (const [part, count] of [
      ['train', 144],
      ['validation', 20],
      ['test', 40],
    ] as const)
      writeFileSync(join(folder, 'medquad', `${part}.jsonl.gz`), gzipSync(lines(count, count)));
    await useBackend('cpu');
    base = await baseModelFrom(tinyBaseFiles());
  });
  after(() => {
    base.model.dispose();
    rmSync(folder, { recursive: true });
  });

  const cellOf = (method: Cell['method']): Cell => ({
    set: 'medquad',
    dealing: method.startsWith('pooled') || method === 'naive-bayes' ? null : sets.medquad.dealings[0]!.label,
    seed: 1,
    method,
    split: 'test',
    settings: {
      rows: 90,
      testRows: 1000,
      passedOver: 0,
      clientCount: 9,
      rounds: 2,
      lengthMax: 32,
      batchSize: 8,
      learningRate: method === 'naive-bayes' ? null : 0.02,
    },
  });

  it('[EXP-11] computes every method, twice the same', async () => {
    for (const method of methods) {
      const notes: number[] = [];
      const options = { cell: cellOf(method), folder, base };
      const first = await runCell({ ...options, onProgress: ({ done, total }) => notes.push(done / total) });
      const { seconds: _, ...again } = await runCell({ ...options, onProgress: () => {} });
      const { seconds, ...rest } = first;
      assert.deepEqual(again, rest, method);
      assert.ok(seconds > 0);
      assert.ok(first.accuracy >= 0.5, `${method}: ${first.accuracy}`);
      assert.deepEqual([first.trainRows, first.testRows], [90, 40]);
      assert.equal(first.clients.length, method === 'local-adapter' ? 9 : 0);
      if (method === 'naive-bayes') assert.deepEqual(notes, []);
      else assert.ok(Math.abs(notes.at(-1)! - 1) < 1e-9, `${method} ends at ${notes.at(-1)}`);
    }
  });

  it('[EXP-19] sites alone learn together what each learns by itself', async () => {
    const adapter = parseAdapter({ method: 'bottleneck', size: 2 }, base.model.description);
    const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;
    const model = createTaskModel({ base: base.model, adapter, task });
    const random = seededRandom(6);
    const configuration = trainingOf({ learningRate: 0.01, batchSize: 4, epochs: 2 });
    const start = model.initialise(7);
    const clients = [5, 12, 9].map((count) => {
      const examples = Array.from({ length: count }, (_, index) => {
        return {
          ids: Int32Array.from({ length: 4 }, () => 4 + random.integer(100)),
          targets: Int32Array.of(index % 2),
        };
      });
      return { start, source: memorySource(examples), seed: 7 };
    });
    assert.ok(groupSizeOf({ clients, configuration }) >= clients.length, 'they train together');
    const together = await trainClients({ model, clients, configuration });
    for (const [place, client] of clients.entries()) {
      const { delta, meanLoss } = await trainLocally({ model, ...client, configuration });
      assert.ok(Math.abs(together[place]!.meanLoss - meanLoss) < 1e-5);
      const largest = delta.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      assert.ok(largest > 1e-3);
      for (const [index, value] of delta.entries())
        assert.ok(Math.abs(together[place]!.delta[index]! - value) < 1e-3 * largest, `client ${place}, value ${index}`);
    }
  });

  it('[EXP-12] federates a single client as if it trained alone, round by round', async () => {
    const adapter = parseAdapter({ method: 'bottleneck', size: 2 }, base.model.description);
    const task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 } as const;
    const model = createTaskModel({ base: base.model, adapter, task });
    const random = seededRandom(5);
    const examples = Array.from({ length: 20 }, (_, index) => {
      return { ids: Int32Array.from({ length: 4 }, () => 4 + random.integer(100)), targets: Int32Array.of(index % 2) };
    });
    const configuration = trainingOf({ learningRate: 0.01, batchSize: 8, epochs: 1 });
    const source = memorySource(examples);
    const found = await federate({ model, clients: [source], rounds: 2, configuration, seed: 7 });
    let expected = model.initialise(7);
    for (const index of [0, 1]) {
      const { delta } = await trainLocally({
        model,
        start: expected,
        source,
        configuration,
        seed: 7 + index,
        round: { index, count: 2 },
      });
      expected = expected.map((value, place) => value + delta[place]!);
    }
    assert.deepEqual(found, expected);
  });
});

describe('drawRows', () => {
  const rows = Array.from({ length: 50 }, (_, index) => ({ text: `${index}`, label: 'a', line: index + 1 }));

  it('[EXP-13] draws without replacement in order, by seed, and takes all when there are not more', () => {
    const drawn = drawRows(rows, 20, 1).map(({ line }) => line);
    assert.equal(new Set(drawn).size, 20);
    assert.deepEqual(
      drawn,
      drawn.toSorted((left, right) => left - right),
    );
    assert.deepEqual(
      drawRows(rows, 20, 1).map(({ line }) => line),
      drawn,
    );
    assert.notDeepEqual(
      drawRows(rows, 20, 2).map(({ line }) => line),
      drawn,
    );
    assert.deepEqual(drawRows(rows, 50, 1), rows);
  });

  it('[EXP-17] rows that were looked at before are passed over', () => {
    const lines = (drawn: readonly { readonly line: number }[]) => drawn.map(({ line }) => line);
    const [seen, fresh] = [lines(drawRows(rows, 20, 1)), lines(drawRows(rows, 20, 1, 20))];
    assert.equal(fresh.length, 20);
    assert.equal(new Set([...seen, ...fresh]).size, 40);
    assert.equal(drawRows(rows, 50, 1, 20).length, 30);
  });
});
