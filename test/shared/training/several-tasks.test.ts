/** Several tasks over one adapter: a head each, batches of one task or of rows with several labels, adapters side by side. */
import { strict as assert } from 'node:assert';
import { type Tensor, type Tensor1D, tensor1d, tidy, valueAndGrads } from '@tensorflow/tfjs-core';
import { createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { documentOfTask } from '../../../shared/adapters/one-task.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { createParts } from '../../../shared/data/parts.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import { baseModelFrom } from '../../../shared/model/load.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { type SeveralTask, type Task, taskSchema } from '../../../shared/plan/task.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluateCounts } from '../../../shared/training/evaluate.ts';
import { ownersOf } from '../../../shared/training/label-owners.ts';
import { nameTensors, splitFlat } from '../../../shared/training/parameters.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { metricsByTask } from '../../../shared/training/tasks/several.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { unflatten } from '../../../shared/update/vector.ts';
import { tinyBaseFiles } from '../../helpers/tiny-base.ts';

const tasks = [
  { name: 'topic', labels: ['a', 'b', 'c'] },
  { name: 'tone', labels: ['calm', 'upset'] },
];
const several = taskSchema.parse({ kind: 'several', tasks, pooling: 'mean', lengthMax: 12 }) as SeveralTask;
const single = (index: number): Task =>
  taskSchema.parse({ labels: tasks[index]!.labels, pooling: 'mean', lengthMax: 12 });
const side = { method: 'parallel', members: tasks.map(({ name }) => ({ id: name, method: 'bottleneck', size: 3 })) };

const methods = [
  { method: 'bottleneck', size: 3 },
  side,
  { method: 'hyperformer', tasks: ['topic', 'tone'], embeddingSize: 4, reductionFactor: 4 },
] as readonly Plan['adapter'][];

describe('several tasks', () => {
  let base: LoadedBase;
  before(async () => {
    await useBackend('wasm');
    base = await baseModelFrom(tinyBaseFiles());
  });
  after(() => base.model.dispose());

  const modelOf = (adapter: Plan['adapter'], task: Task) =>
    createTaskModel({
      base: base.model,
      adapter: parseAdapter(adapter, base.model.description),
      task,
      tokenizer: base.tokenizer,
    });
  const examplesOf = (task: Task, records: readonly object[], columns = {}) => {
    const { task: bound } = modelOf({ method: 'none' }, task);
    const parts = createParts();
    const examples = viewsOf(records).flatMap((view) => {
      const row = bound.rows.read(view, columns);
      return parts.tag(row.part, bound.encode(row, base.tokenizer).examples);
    });
    return { examples, source: parts.label(memorySource(examples)) };
  };
  const lossOf = (
    model: ReturnType<typeof modelOf>,
    flat: Float32Array,
    examples: Parameters<typeof model.arrange>[0],
  ) => {
    let found = { loss: 0, values: new Float32Array(0) };
    tidy(() => {
      const arranged = model.arrange(examples, () => seededRandom(1));
      const { value, grads } = valueAndGrads((vector: Tensor) => {
        const named = nameTensors(splitFlat(vector as Tensor1D, model.layout), model.layout);
        const mode = { training: false, random: seededRandom(1) };
        return model.loss(named, model.states(named, arranged, mode), arranged);
      })([tensor1d(flat)]);
      found = { loss: value.dataSync()[0]!, values: Float32Array.from(grads[0]!.dataSync()) };
    });
    return { loss: found.loss, gradient: unflatten(model.layout, found.values) };
  };
  const near = (left: number, right: number, slack = 1e-5) =>
    assert.ok(Math.abs(left - right) <= slack, `${left}, ${right}`);

  it('[SEV-1] every task has labels and a head of its own, which weighs by its share of the rows', async () => {
    const { layout } = modelOf({ method: 'lora', rank: 2 }, several);
    const heads = layout.tensors.filter(({ name }) => name.startsWith('heads.'));
    assert.deepEqual(
      heads.map(({ name, shape, aggregationClass }) => [name, shape.at(-1), aggregationClass]),
      [
        ['heads.topic.kernel', 3, 'count-weighted'],
        ['heads.topic.bias', 3, 'count-weighted'],
        ['heads.tone.kernel', 2, 'count-weighted'],
        ['heads.tone.bias', 2, 'count-weighted'],
        ['heads.uses', 2, 'count'],
      ],
    );
    const { source } = examplesOf(several, [
      { text: 'one', labels: { topic: 'a', tone: 'calm' } },
      { text: 'two', labels: { topic: 'b' } },
    ]);
    assert.deepEqual([...(await ownersOf(layout, source)).get('heads.uses')!], [1, 0.5]);
  });

  it('[SEV-2] the loss of a batch of one task is that task alone, and no other head learns from it', () => {
    const model = modelOf({ method: 'bottleneck', size: 3 }, several);
    const alone = modelOf({ method: 'bottleneck', size: 3 }, single(1));
    const flat = model.initialise(3);
    const own = alone.initialise(3);
    const values = unflatten(model.layout, flat);
    unflatten(alone.layout, own).get('head.kernel')!.set(values.get('heads.tone.kernel')!);
    const rows = [
      { text: 'one more', label: 'calm', task: 'tone' },
      { text: 'never', label: 'upset', task: 'tone' },
    ];
    const found = lossOf(model, flat, examplesOf(several, rows, { part: 'task' }).examples);
    const expected = lossOf(alone, own, examplesOf(single(1), rows).examples);
    near(found.loss, expected.loss);
    assert.ok(found.gradient.get('heads.topic.kernel')!.every((value) => value === 0));
    for (const [name, gradient] of expected.gradient) {
      const same = found.gradient.get(name.replace(/^head\./, 'heads.tone.'))!;
      for (const [index, value] of gradient.entries()) near(same[index]!, value);
    }
  });

  it('[SEV-3] adapters side by side learn on one batch what each would alone with its own head', () => {
    const model = modelOf(side, several);
    const flat = model.initialise(5);
    const values = unflatten(model.layout, flat);
    const random = seededRandom(9);
    for (const tensor of values.values())
      for (let index = 0; index < tensor.length; index++) tensor[index] = 0.3 * random.normal();
    const rows = [
      { text: 'one more', labels: { topic: 'a', tone: 'calm' } },
      { text: 'never', labels: { topic: 'c', tone: 'upset' } },
    ];
    const together = lossOf(model, flat, examplesOf(several, rows).examples);
    const losses = tasks.map(({ name }, index) => {
      const alone = modelOf({ method: 'bottleneck', size: 3 }, single(index));
      const own = alone.initialise(1);
      for (const [tensor, part] of unflatten(alone.layout, own))
        part.set(
          values.get(tensor.startsWith('head.') ? tensor.replace('head', `heads.${name}`) : `${name}.${tensor}`)!,
        );
      const records = rows.map(({ text, labels }) => ({ text, label: labels[name as 'topic' | 'tone'] }));
      const { loss, gradient } = lossOf(alone, own, examplesOf(single(index), records).examples);
      for (const [tensor, part] of gradient) {
        const place = tensor.startsWith('head.') ? tensor.replace('head', `heads.${name}`) : `${name}.${tensor}`;
        // The mean over both tasks halves the gradient of each.
        for (const [at, value] of part.entries()) near(together.gradient.get(place)![at]!, value / 2, 2e-5);
      }
      return loss;
    });
    near(together.loss, (losses[0]! + losses[1]!) / 2);
  });

  for (const adapter of methods) {
    it(`[SEV-4] ${adapter.method} learns two tasks whose parts are sampled by temperature, and counts each by itself`, async () => {
      const random = seededRandom(2);
      const words = { topic: { a: 'cat', b: 'dog', c: 'emu' }, tone: { calm: 'yes', upset: 'no' } } as const;
      const rows = Array.from({ length: 60 }, (_, index) => {
        const name = index % 4 === 0 ? ('tone' as const) : ('topic' as const);
        const labels = Object.entries(words[name]);
        const [label, word] = labels[random.integer(labels.length)]!;
        return { text: `${word} ${word}`, label, task: name };
      });
      const model = modelOf(adapter, several);
      const { source } = examplesOf(several, rows, { part: 'task' });
      const { parameters } = await trainLocally({
        model,
        start: model.initialise(1),
        source,
        seed: 1,
        configuration: {
          ...defaultTraining,
          localEpochs: undefined,
          localSteps: 24,
          batchSize: 8,
          learningRate: 0.05,
          samplingTemperature: 5,
        },
      });
      const counts = await evaluateCounts({ model, parameters, source });
      const found = metricsByTask(several, counts);
      assert.deepEqual(
        found.map(({ name, targetCount }) => [name, targetCount]),
        [
          ['topic', 45],
          ['tone', 15],
        ],
      );
      for (const { name, accuracy } of found) assert.ok(accuracy! > 0.8, `${name}: ${accuracy}`);
      assert.equal(counts.targetCount, 60);
      assert.equal(counts.exampleCount, 60);
    });
  }

  for (const adapter of methods) {
    it(`[SEV-7] what ${adapter.method} has for one task is an adapter of that task alone, which scores as the whole does`, async () => {
      const model = modelOf(adapter, several);
      const random = seededRandom(4);
      const parameters = Float32Array.from(model.initialise(1), (value) => value + 0.2 * random.normal());
      const { configuration } = parseAdapter(adapter, base.model.description);
      const whole = createAdapterDocument({
        base: base.model.description,
        ...{ adapter: configuration, task: several, layout: model.layout, parameters },
      });
      const { labels, name } = tasks[1]!;
      const rows = ['never', 'one more', 'x'].map((text, index) => ({ text, label: labels[index % 2], task: name }));
      const part = documentOfTask(whole, name, base.model.description);
      assert.ok('labels' in part.task && part.task.labels.join() === labels.join());
      assert.equal(part.lineage, null);
      const alone = modelOf(part.adapter, part.task);
      const found = await evaluateCounts({
        model: alone,
        parameters: part.parameters,
        source: examplesOf(part.task, rows).source,
      });
      const { source } = examplesOf(several, rows, { part: 'task' });
      const expected = await evaluateCounts({ model, parameters, source });
      assert.ok(found.lossSum > 0);
      near(found.lossSum, expected.lossSum);
      assert.deepEqual(found.labels.predicted, expected.labels.predicted.slice(3));
      assert.throws(
        () => documentOfTask(whole, 'tome', base.model.description),
        /--task must be one of topic, tone \(did you mean tone\?\), found tome/,
      );
      assert.throws(() => documentOfTask(part, 'tone', base.model.description), /--task must be left out/);
    });
  }

  it('[SEV-5] one label without a part is of every task that knows it; a row of no task is refused by line', () => {
    const same = taskSchema.parse({
      kind: 'several',
      tasks: ['fast', 'slow'].map((name) => ({ name, labels: ['a', 'b'] })),
      pooling: 'mean',
    });
    assert.deepEqual([...examplesOf(same, [{ text: 'x', label: 'b' }]).examples[0]!.targets], [1, 3]);
    const refused = (records: readonly object[], pattern: RegExp, columns = {}) =>
      assert.throws(() => examplesOf(several, records, columns), pattern);
    refused(
      [{ text: 'x', label: 'a', task: 'tome' }],
      /line 1: the task of a row must be one of topic, tone, found "tome"/,
      { part: 'task' },
    );
    refused([{ text: 'x', labels: {} }], /expected a label for at least one task in "labels"/);
    refused([{ text: 'x', label: 'nobody knows' }], /a label that none of them knows/);
  });

  it('[SEV-8] a task of another kind beside others is refused, with the reason and what works', () => {
    for (const kind of ['tokens', 'multi-label']) {
      const mixed = { kind: 'several', tasks: [tasks[0], { ...tasks[1], kind }], pooling: 'mean' };
      assert.throws(() => taskSchema.parse(mixed), /one row per text; train multi-label and tokens as phases/);
    }
  });

  it('[SEV-6] adapters side by side need a task named after each, and stand outermost', () => {
    assert.throws(
      () => modelOf(side, single(0)),
      /the kind must be several, with tasks named as the members in their order \(topic, tone\)/,
    );
    const inner = { id: 'both', ...side };
    assert.throws(
      () => parseAdapter({ method: 'stack', members: [inner, { id: 'own', method: 'lora' }] }, base.model.description),
      /members\[0\]\.method must be another: parallel has several results/,
    );
  });
});
