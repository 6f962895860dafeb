/** A server of adapters over real HTTP, on a tiny base: answers, refusals, limits, and what is published while it runs. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor1d } from '@tensorflow/tfjs-core';
import { createClient } from '../../../client/client.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { taskLearner } from '../../../client/task-learner.ts';
import { startCoordinator } from '../../../coordinator/coordinator.ts';
import { prepareFederation } from '../../../coordinator/prepare.ts';
import { type Serving, type ServingOptions, startServing } from '../../../coordinator/serving/serving.ts';
import { type AdapterDocument, createAdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { loadBase } from '../../../shared/model/load.node.ts';
import type { LoadedBase } from '../../../shared/model/load.ts';
import { type Plan, parsePlan } from '../../../shared/plan/plan.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { nameTensors, splitFlat } from '../../../shared/training/parameters.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { policyWith } from '../../end-to-end/world.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';

const ofLabels = (count: number): Task => ({
  kind: 'classification',
  labels: Array.from({ length: count }, (_, label) => `label ${label}`),
  pooling: 'mean',
  lengthMax: 12,
});

/** Adapters that share a stacked product, that are split by rows, and that pass alone. */
const served: Readonly<Record<string, readonly [Plan['adapter'], Task]>> = {
  'lora-a': [{ method: 'lora', rank: 2 }, ofLabels(3)],
  'lora-b': [{ method: 'lora', rank: 2 }, ofLabels(5)],
  small: [{ method: 'bottleneck', size: 3 }, ofLabels(3)],
  scaled: [{ method: 'ia3' }, ofLabels(2)],
  prompted: [{ method: 'prompt', length: 2 }, ofLabels(3)],
  language: [
    { method: 'lora', rank: 2 },
    { kind: 'causal', lengthMax: 12 },
  ],
};
const texts = ['where is my card', 'no', 'a parcel that never came, again'];

describe('a server of adapters', () => {
  let [root, baseFolder, adapters] = ['', '', ''];
  let base: LoadedBase;
  const documents = new Map<string, AdapterDocument>();
  const running: Serving[] = [];

  before(async () => {
    await useBackend('cpu');
    root = await mkdtemp(join(tmpdir(), 'tributary-serving-'));
    [baseFolder, adapters] = [join(root, 'base'), join(root, 'adapters')];
    await writeTinyBase(baseFolder);
    base = await loadBase(baseFolder);
    for (const [index, [name, [adapter, task]]] of Object.entries(served).entries()) {
      documents.set(name, documentOf(adapter, task, index));
      await writeAdapterFolder(join(adapters, name), documents.get(name)!);
    }
  });
  afterEach(async () => {
    for (const serving of running.splice(0)) await serving.close(1000);
  });
  after(async () => {
    base.model.dispose();
    await rm(root, { recursive: true });
  });

  /** An adapter with random values everywhere, so that no two agree. */
  function documentOf(adapter: Plan['adapter'], task: Task, seed: number): AdapterDocument {
    const { model } = base;
    const { layout } = createTaskModel({ base: model, adapter: parseAdapter(adapter, model.description), task });
    const random = seededRandom(seed, 'values');
    const parameters = Float32Array.from({ length: layout.dim }, () => 0.3 * random.normal());
    return createAdapterDocument({ base: model.description, adapter, task, layout, parameters });
  }

  async function start(changes: Partial<ServingOptions> = {}): Promise<Serving> {
    const places = [{ kind: 'folder', folder: adapters, name: null }] as const;
    const serving = await startServing({ baseFolder, places, port: 0, backend: 'cpu', refreshMs: 0, ...changes });
    running.push(serving);
    return serving;
  }

  async function ask(serving: Serving, path: string, init: RequestInit = {}) {
    const response = await fetch(`${serving.url}${path}`, init);
    const body = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(body) : body };
  }

  const post = (serving: Serving, path: string, body: unknown, headers: Record<string, string> = {}) =>
    ask(serving, path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });

  /** Probabilities of all labels, as the task model of the adapter gives them without a server. */
  function probabilitiesOf(name: string, text: string): Map<string, number> {
    const [adapter, task] = served[name]!;
    assert.ok(task.kind === 'classification');
    const model = createTaskModel({ base: base.model, adapter: parseAdapter(adapter, base.model.description), task });
    const parameters = nameTensors(splitFlat(tensor1d(documents.get(name)!.parameters), model.layout), model.layout);
    const { examples } = model.task.encode({ text, label: task.labels[0]!, line: 1 }, base.tokenizer);
    const arranged = model.arrange([examples[0]!], () => seededRandom(0));
    const scores = model.scores(
      parameters,
      model.states(parameters, arranged, { training: false, random: seededRandom(0) }),
    );
    const values = [...scores.dataSync()].map(Math.exp);
    const sum = values.reduce((total, value) => total + value, 0);
    return new Map(task.labels.map((label, index) => [label, values[index]! / sum]));
  }

  it('[SRV-1] gives every request what its adapter alone gives, whatever is asked beside it', async () => {
    const serving = await start();
    const names = Object.keys(served).filter((name) => name !== 'language');
    const asked = Array.from({ length: 20 }, (_, index) => names[index % names.length]!);
    const answers = await Promise.all(asked.map((adapter) => post(serving, '/classify', { adapter, texts, top: 9 })));
    for (const [index, { status, body }] of answers.entries()) {
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.adapter, asked[index]);
      assert.equal(body.results.length, texts.length);
      for (const [place, { labels }] of body.results.entries()) {
        const expected = probabilitiesOf(asked[index]!, texts[place]!);
        assert.equal(labels.length, expected.size);
        for (const { label, probability } of labels)
          assert.ok(Math.abs(probability - expected.get(label)!) < 1e-4, `${asked[index]}: ${label} ${probability}`);
      }
    }
    const { body: metrics } = await ask(serving, '/metrics');
    assert.match(metrics, /tributary_texts_total 60\n/);
    // Some passes were shared: fewer of them than requests.
    const passes = Number(/tributary_batch_adapters_count (\d+)/.exec(metrics)?.[1]);
    assert.ok(passes < asked.length, `${passes} passes`);
  });

  it('[SRV-2] refuses what it cannot answer with a status, a code and what was expected, and goes on', async () => {
    const serving = await start();
    const classify = (body: unknown) => post(serving, '/classify', body);
    const refused: readonly (readonly [ReturnType<typeof ask>, number, string, RegExp])[] = [
      [ask(serving, '/nowhere'), 404, 'no-such-route', /POST \/classify/],
      [ask(serving, '/classify'), 405, 'wrong-method', /POST/],
      [classify('{"adapter":'), 400, 'bad-json', /no JSON/],
      [post(serving, '/classify', 'x=1', { 'content-type': 'text/plain' }), 415, 'wrong-type', /application\/json/],
      [classify({ adapter: 'lora-c', texts }), 404, 'no-such-adapter', /did you mean lora-/],
      [classify({ adapter: 'lora-a@9', texts }), 404, 'no-such-version', /lora-a has no version 9/],
      [classify({ adapter: 'lora-a', texts: [] }), 400, 'bad-request', /texts must be .*1 to 64/],
      [classify({ adapter: 'lora-a', texts: [7] }), 400, 'bad-request', /texts/],
      [classify({ adapter: 'lora-a', texts: [['one', 'word']] }), 400, 'bad-text', /texts\[0\] must be a text/],
      [classify({ adapter: 'lora-a', texts: ['fine', ' \n'] }), 400, 'bad-text', /texts\[1\] is empty/],
      [classify({ adapter: 'lora-a', texts, tpo: 2 }), 400, 'bad-request', /tpo/],
      [classify({ adapter: 'lora-a', texts, task: 'tone' }), 400, 'no-such-task', /classification/],
      [classify({ adapter: 'language', texts }), 400, 'cannot-classify', /\/generate/],
      [classify({ adapter: '__proto__', texts }), 404, 'no-such-adapter', /__proto__/],
      [classify({ adapter: 'lora-a', texts: ['x'.repeat(2 ** 20)] }), 413, 'too-large', /1048576/],
      [ask(serving, '/adapters/%E0%A4'), 400, 'bad-path', /./],
    ];
    for (const [reply, status, code, sentence] of refused) {
      const { status: found, body } = await reply;
      assert.deepEqual([found, body.error?.code], [status, code], JSON.stringify(body));
      assert.match(body.error.message, sentence);
    }
    assert.equal((await classify({ adapter: 'lora-a', texts })).status, 200);
  });

  it('[SRV-3] lets in only who has the token; health is open; an open address needs one', async () => {
    const token = 'a-token-of-some-length';
    const serving = await start({ token });
    const body = { adapter: 'lora-a', texts };
    for (const authorization of [undefined, 'Bearer wrong-token-of-length', token, `Basic ${token}`]) {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      const reply = await post(serving, '/classify', body, headers);
      assert.deepEqual([reply.status, reply.headers.get('www-authenticate')], [401, 'Bearer']);
      assert.doesNotMatch(JSON.stringify(reply.body), /a-token/);
    }
    assert.equal((await post(serving, '/classify', body, { authorization: `Bearer ${token}` })).status, 200);
    assert.equal((await ask(serving, '/health')).status, 200);
    await assert.rejects(start({ host: '0.0.0.0' }), { code: 'no-token' });
    await assert.rejects(start({ token: 'short' }), { code: 'bad-token' });
  });

  it('[SRV-4] takes on no more than it was told, and makes room in memory for whoever is asked next', async () => {
    const full = await start({ limits: { waitingMax: 2 } });
    const busy = await post(full, '/classify', { adapter: 'lora-a', texts });
    assert.deepEqual([busy.status, busy.body.error.code], [429, 'busy']);
    assert.ok(Number(busy.headers.get('retry-after')) >= 1);
    const narrow = await start({ limits: { adapterBytesMax: 1 } });
    for (const adapter of ['lora-a', 'small', 'lora-a', 'scaled']) {
      const { status, body } = await post(narrow, '/classify', { adapter, texts: [texts[0]], top: 1 });
      assert.equal(status, 200);
      const expected = probabilitiesOf(adapter, texts[0]!).get(body.results[0].labels[0].label)!;
      assert.ok(Math.abs(body.results[0].labels[0].probability - expected) < 1e-4);
    }
    assert.match((await ask(narrow, '/metrics')).body, /tributary_adapter_evictions [3-4]\n/);
  });

  it('[SRV-5] writes text with an adapter: the same for the same seed', async () => {
    const serving = await start();
    const asked = { adapter: 'language', prompt: 'my card', lengthMax: 5, temperature: 1, seed: 3 };
    const [first, second] = [await post(serving, '/generate', asked), await post(serving, '/generate', asked)];
    assert.equal(first.status, 200, JSON.stringify(first.body));
    assert.deepEqual(first.body, second.body);
    const contrary = await post(serving, '/generate', { ...asked, temperature: 0, topP: 0.5 });
    assert.deepEqual([contrary.status, contrary.body.error.code], [400, 'bad-request']);
  });

  it('[SRV-6] serves folders that come, change and break while it runs', async () => {
    const folder = join(root, 'growing');
    await writeAdapterFolder(join(folder, 'first'), documents.get('lora-a')!);
    const told: string[] = [];
    const places = [{ kind: 'folder', folder, name: null }] as const;
    const serving = await start({ places, log: (line) => told.push(line) });
    const before = (await ask(serving, '/adapters/first')).body.modelHash;
    await writeAdapterFolder(join(folder, 'second'), documents.get('small')!);
    await rm(join(folder, 'first'), { recursive: true });
    await writeAdapterFolder(join(folder, 'first'), documentOf(...served['lora-a']!, 77));
    await serving.refresh();
    assert.deepEqual([...serving.names()].sort(), ['first', 'second']);
    assert.notEqual((await ask(serving, '/adapters/first')).body.modelHash, before);
    assert.equal((await post(serving, '/classify', { adapter: 'second', texts })).status, 200);
    await writeFile(join(folder, 'second', 'adapter.json'), '{');
    await serving.refresh();
    assert.equal((await post(serving, '/classify', { adapter: 'first', texts })).status, 200);
    assert.ok(told.length > 0, 'a broken folder is told');
  });

  it('[SRV-7] follows a federation: each version by its number, the latest from the next look on', async function () {
    this.timeout(30_000);
    const stateFolder = join(root, 'state');
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'Served Federation',
        base: { digest: base.model.description.digest },
        task: { labels: ['no', 'yes'], pooling: 'mean', lengthMax: 8 },
        adapter: { method: 'lora', rank: 2 },
        training: { localSteps: 2, batchSize: 4, learningRate: 0.05 },
        rounds: { count: 2, cohortSize: 1, quorum: 1, recruitSeconds: 20, trainSeconds: 20, evaluateSeconds: 20 },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: 'off' },
      },
      'the test',
    );
    const prepared = await prepareFederation(plan, baseFolder, 'the test');
    const coordinator = await startCoordinator({ ...prepared, stateFolder, port: 0 });
    prepared.closeBase();
    const serving = await start({ places: [{ kind: 'state', folder: stateFolder, name: null }] });
    assert.deepEqual(serving.names(), ['served-federation']);
    const asked = { adapter: 'served-federation', texts };
    assert.equal((await post(serving, '/classify', asked)).body.version, '0');
    const rows = Array.from({ length: 8 }, (_, index) => ({
      text: `row ${index}`,
      label: index % 2 === 0 ? 'no' : 'yes',
    }));
    const client = await createClient({
      platform: await nodePlatform(join(root, 'site')),
      learner: taskLearner({ train: viewsOf(rows), heldOut: [], backend: 'cpu' }),
      policy: policyWith(),
      invite: await coordinator.invite({ organisation: 'site' }),
    });
    assert.equal((await client.run()).kind, 'completed');
    await coordinator.ended;
    await coordinator.close();
    await serving.refresh();
    const [latest, pinned] = [
      await post(serving, '/classify', asked),
      await post(serving, '/classify', { ...asked, adapter: 'served-federation@0' }),
    ];
    assert.deepEqual([latest.body.version, pinned.body.version], ['2', '0']);
    assert.notDeepEqual(latest.body.results, pinned.body.results);
    const { body } = await ask(serving, '/adapters/served-federation');
    assert.deepEqual([body.lineage.roundIndex, body.versions.length], [1, 3]);
  });

  it('[SRV-8] answers what is under way before it ends', async () => {
    const serving = await start();
    running.length = 0;
    const asked = Promise.all(
      ['lora-a', 'small', 'prompted'].map((adapter) => post(serving, '/classify', { adapter, texts })),
    );
    // Once one is answered all have arrived.
    await post(serving, '/classify', { adapter: 'scaled', texts });
    await serving.close(10_000);
    for (const { status } of await asked) assert.equal(status, 200);
    await assert.rejects(post(serving, '/classify', { adapter: 'lora-a', texts }));
  });
});
