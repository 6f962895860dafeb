/** Clients of different tasks under one adapter that serves several. */
import { strict as assert } from 'node:assert';
import { taskLearner } from '../../client/task-learner.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { withTask } from '../../shared/adapters/with-task.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { UsageError } from '../../shared/core/errors.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { tinyBaseFiles } from '../helpers/tiny-base.ts';

const files = tinyBaseFiles();
const base = describeFiles(files);
const hyperformer = { method: 'hyperformer', tasks: ['cardiology', 'oncology'], embeddingSize: 4, reductionFactor: 4 };

/** An adapter that only notes what its hooks are given. */
function spyAdapter() {
  const seen: unknown[] = [];
  const hooks = (context: object) => {
    seen.push(context);
    return {};
  };
  return { spy: { configuration: parseAdapter(hyperformer, base).configuration, hooks }, seen };
}

describe('an adapter for one of its tasks', () => {
  it('[ATS-1] a client trains the vector of its own task and leaves the others alone, and its counts say so', async () => {
    await useBackend('cpu');
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'two wards',
        base: { digest: base.digest },
        task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
        adapter: hyperformer,
        training: { localSteps: 3, batchSize: 8, learningRate: 0.01 },
        rounds: { count: 1, quorum: 1 },
      },
      'the test',
    );
    const rows = Array.from({ length: 8 }, (_, index) => {
      const label = index % 2 === 0 ? 'yes' : 'no';
      return { text: `${label} ${index}`, label, line: index + 1 };
    });
    const options = { train: viewsOf(rows), heldOut: viewsOf([]), backend: 'cpu', adapterTask: 'oncology' } as const;
    const learning = await taskLearner(options).prepare(plan, files);
    const start = await learning.initialise!(1);
    const { signal } = new AbortController();
    const result = await learning.train({ start, frozen: null, roundIndex: 0, signal, onProgress: () => undefined });
    const changes = (name: string) => {
      const { offset, size } = learning.trainedLayout!.tensors.find(
        (tensor) => tensor.name === `hypernetwork.tasks.${name}`,
      )!;
      return result.delta.subarray(offset, offset + size).some((value) => value !== 0);
    };
    assert.deepEqual([changes('cardiology'), changes('oncology')], [false, true]);
    assert.deepEqual([...result.counts!.get('hypernetwork.uses')!], [0, 1]);
    learning.dispose();
  });

  it('[ATS-2] the task of the pass goes before that of the client', () => {
    const { spy, seen } = spyAdapter();
    const bound = withTask(spy, 'oncology');
    const context = { parameters: new Map(), training: false, random: seededRandom(1) };
    bound.hooks(context);
    bound.hooks({ ...context, task: 'cardiology' });
    assert.deepEqual(
      seen.map((one) => (one as { task: string }).task),
      ['oncology', 'cardiology'],
    );
    assert.equal(withTask(spy, undefined), spy);
  });

  it('[ATS-3] a task that the adapter does not have is refused, also within a composition', () => {
    const nested = parseAdapter({ method: 'stack', members: [{ id: 'a', ...hyperformer }] }, base);
    assert.doesNotThrow(() => withTask(nested, 'oncology'));
    const refusal = (message: RegExp) => (error: unknown) =>
      error instanceof UsageError && error.code === 'bad-adapter-task' && message.test(error.message);
    assert.throws(
      () => withTask(nested, 'oncologie'),
      refusal(/one of cardiology, oncology \(did you mean oncology\?\), found oncologie/),
    );
    assert.throws(
      () => withTask(parseAdapter({ method: 'lora' }, base), 'x'),
      refusal(/has no tasks to choose from, found x/),
    );
  });

  it('[ATS-4] takes weights over tasks, by name, that sum to 1', () => {
    const { spy, seen } = spyAdapter();
    withTask(spy, 'cardiology=0.25, oncology=0.75').hooks({
      parameters: new Map(),
      training: false,
      random: seededRandom(1),
    });
    assert.deepEqual((seen[0] as { task: object }).task, { cardiology: 0.25, oncology: 0.75 });
    const refused = (task: string, message: RegExp) =>
      assert.throws(
        () => withTask(spy, task),
        (error) => error instanceof UsageError && message.test(error.message),
        task,
      );
    refused('cardiology=0.5,oncologie=0.5', /one of cardiology, oncology \(did you mean oncology\?\), found oncologie/);
    for (const wrong of [
      'cardiology=0.5,oncology=0.6',
      'cardiology=1.5,oncology=-0.5',
      'cardiology=,oncology=1',
      'cardiology=x',
    ])
      refused(wrong, /must be numbers of at least 0 that sum to 1, such as a=0.25,b=0.75, found cardiology=/);
    refused('=1', /one of cardiology, oncology, found $/);
  });
});
