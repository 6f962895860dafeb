/** The real learner under rules for low-rank pairs: what it trains, what acts beside it, what it counts. */
import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import type { PreparedLearning } from '../../client/learner.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { type Exchange, exchangeOf } from '../../shared/update/exchange.ts';
import { ownersName, pairsOf } from '../../shared/update/federated-layout.ts';
import { firstPublished, personalOf, trainingStartOf } from '../../shared/update/training-start.ts';
import { uploadOf } from '../../shared/update/upload.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';

const files = tinyBaseFiles();
const rows = Array.from({ length: 8 }, (_, index) => {
  const label = index % 2 === 0 ? 'yes' : 'no';
  return { text: `${label} ${index}`, label, line: index + 1 };
});
const signal = new AbortController().signal;
const roundHash = '07'.repeat(32) as never;

async function prepare(aggregation: object, adapter: object = { method: 'lora', rank: 2, targets: 'all-linear' }) {
  const plan = parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'rules',
      base: { digest: describeFiles(files).digest },
      task: { labels: ['no', 'perhaps', 'yes'], pooling: 'last', lengthMax: 16 },
      adapter,
      training: { localSteps: 1, batchSize: 8, learningRate: 0.01 },
      rounds: { count: 2, quorum: 1 },
      aggregation,
    },
    'the test',
  );
  const learner = taskLearner({ train: viewsOf(rows), heldOut: viewsOf(rows.slice(0, 4)), backend: 'cpu' });
  const learning = await learner.prepare(plan, files);
  return { learning, exchange: exchangeOf(plan.aggregation, learning.layout, learning.trainedLayout) };
}

/** Published values of which every rank does something. */
function busyValues({ published, trained }: Exchange): Float32Array {
  const random = seededRandom(5, 'busy');
  const used = new Set(
    trained.tensors.filter(({ aggregationClass }) => aggregationClass !== 'count').map(({ name }) => name),
  );
  const values = new Float32Array(published.dim);
  for (const { name, offset, size } of published.tensors)
    if (used.has(name)) for (let index = 0; index < size; index++) values[offset + index] = 0.3 * random.normal();
  return values;
}

async function trainOnce(
  { learning, exchange }: { readonly learning: PreparedLearning; readonly exchange: Exchange },
  published: Float32Array,
  rankMax: number | null = null,
) {
  const values = await learning.initialise!(9);
  const fresh = (): Float32Array => values;
  const { start, frozen } = trainingStartOf(exchange, { published, rankMax, personal: null, fresh });
  const learned = await learning.train({ start, frozen, roundIndex: 0, signal, onProgress: () => undefined });
  return { start, frozen, learned };
}

describe('task learner under rules', () => {
  before(() => useBackend('cpu'));

  for (const aggregation of [
    { lowRank: 'svd' },
    { lowRank: 'svd', publishedRank: 4 },
    { lowRank: 'stack', publishedRank: 6 },
    { lowRank: 'residual', publishedRank: 5 },
    { lowRank: 'sketch', sketchSize: 6 },
  ]) {
    it(`[TLR-1] begins with the function that was published, whatever its rank: ${JSON.stringify(aggregation)}`, async () => {
      const tensors = memory().numTensors;
      const prepared = await prepare(aggregation);
      const { learning, exchange } = prepared;
      const published = busyValues(exchange);
      const counts = await learning.evaluate(published, signal);
      for (const rankMax of [null, 1]) {
        const { learned, frozen } = await trainOnce(prepared, published, rankMax);
        // One step on all rows: its loss is that of the start. Four of the eight rows are held out too.
        const all = await trainOnce(prepared, published);
        assert.ok(Math.abs(learned.meanLoss - all.learned.meanLoss) < 1e-5, `${learned.meanLoss}`);
        assert.ok(frozen !== null || rankMax === null);
        for (const { a, rank, inSize } of pairsOf(exchange.trained)) {
          const beyond = learned.delta.subarray(a.offset + Math.min(rank, rankMax ?? rank) * inSize, a.offset + a.size);
          assert.ok(beyond.every((value) => value === 0));
        }
        assert.ok(learned.delta.some((value) => value !== 0));
      }
      assert.equal(counts.exampleCount, 4);
      learning.dispose();
      assert.equal(memory().numTensors, tensors);
    });
  }

  it('[TLR-2] what acts beside the adapter acts: without it the loss is another one', async () => {
    const prepared = await prepare({ lowRank: 'stack', publishedRank: 6 });
    const published = busyValues(prepared.exchange);
    const { learned, start, frozen } = await trainOnce(prepared, published);
    const bare = await prepared.learning.train({
      start,
      frozen: null,
      roundIndex: 0,
      signal,
      onProgress: () => undefined,
    });
    assert.ok(frozen !== null && Math.abs(learned.meanLoss - bare.meanLoss) > 1e-3);
    const first = firstPublished(prepared.exchange, await prepared.learning.initialise!(1));
    assert.deepEqual(first.length, published.length);
    assert.equal((await trainOnce(prepared, first)).frozen, null);
    prepared.learning.dispose();
  });

  it('[TLR-3] freeze-a trains no A, and uploads none', async () => {
    const prepared = await prepare({ lowRank: 'freeze-a' });
    const { exchange } = prepared;
    const { learned, start } = await trainOnce(prepared, busyValues(exchange));
    for (const { a, b } of pairsOf(exchange.trained)) {
      assert.ok(learned.delta.subarray(a.offset, a.offset + a.size).every((value) => value === 0));
      assert.ok(learned.delta.subarray(b.offset, b.offset + b.size).some((value) => value !== 0));
    }
    const upload = uploadOf(exchange, { start, delta: learned.delta, counts: new Map(), roundHash });
    assert.ok(upload.length < learned.delta.length && upload.every((value) => Number.isFinite(value)));
    prepared.learning.dispose();
  });

  it('[TLR-4] a head by label counts the labels that the site has', async () => {
    const prepared = await prepare({ head: 'by-label' }, { method: 'none' });
    const { learned, start } = await trainOnce(prepared, busyValues(prepared.exchange));
    assert.deepEqual(learned.counts?.get(ownersName), Float32Array.of(1, 0, 1));
    const { delta, counts = new Map() } = learned;
    const upload = uploadOf(prepared.exchange, { start, delta, counts, roundHash });
    assert.deepEqual(upload.subarray(-3), Float32Array.of(1, 0, 1));
    prepared.learning.dispose();
  });

  it('[TLR-5] a mixture counts the tokens of every expert, per example, and experts without tokens send nothing', async () => {
    const prepared = await prepare({}, { method: 'mixture', experts: 3, choices: 1, size: 4 });
    const { exchange, learning } = prepared;
    const published = await learning.initialise!(3);
    const { learned, start } = await trainOnce(prepared, published);
    const [counts] = exchange.uploaded.tensors.filter(({ aggregationClass }) => aggregationClass === 'count');
    const uses = learned.counts!.get(counts!.name)!;
    const tokens = uses.reduce((sum, count) => sum + count, 0);
    assert.ok(tokens >= 3 && tokens <= 16, `${tokens} tokens per example`);
    const upload = uploadOf(exchange, { start, delta: learned.delta, counts: learned.counts!, roundHash });
    for (const { countIndex, countName, offset, size } of exchange.uploaded.tensors) {
      if (countName !== counts!.name || countIndex === undefined || uses[countIndex] !== 0) continue;
      assert.ok(upload.subarray(offset, offset + size).every((value) => value === 0));
    }
    learning.dispose();
  });

  it('[TLR-6] a personal residual beside the shared adapter is trained with it, never sent, and goes on where it was', async () => {
    const members = ['shared', 'mine'].map((id) => ({ id, method: 'lora', rank: 2 }));
    const prepared = await prepare({ personal: ['mine', 'head'] }, { method: 'stack', members });
    const { exchange, learning } = prepared;
    const names = (layout: Exchange['uploaded']) => new Set(layout.tensors.map(({ name }) => name.split('.')[0]));
    assert.deepEqual(names(exchange.trained), new Set(['shared', 'mine', 'head']));
    assert.deepEqual(names(exchange.uploaded), new Set(['shared']));
    const published = busyValues(exchange);
    const { learned, start } = await trainOnce(prepared, published);
    const own = personalOf(
      exchange,
      start.map((value, index) => value + learned.delta[index]!),
    );
    assert.ok(own.length > 0 && learned.delta.some((value) => value !== 0));
    const fresh = () => start;
    const next = trainingStartOf(exchange, { published, rankMax: null, personal: own, fresh });
    assert.deepEqual(personalOf(exchange, next.start), own);
    const upload = uploadOf(exchange, { start, delta: learned.delta, counts: new Map(), roundHash });
    assert.equal(upload.length + own.length, learned.delta.length);
    learning.dispose();
  });
});
