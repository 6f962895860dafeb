/** What a service does with an engine that answers when the test says so: batches, limits, and who may be dropped when. */
import { strict as assert } from 'node:assert';
import type { ServedVersion } from '../../../coordinator/serving/catalogue.ts';
import type { Answered, AnsweringEngine, Asked } from '../../../coordinator/serving/engine.ts';
import { createFigures } from '../../../coordinator/serving/metrics.ts';
import { refusalOf } from '../../../coordinator/serving/refusals.ts';
import { createService, type Service, type ServiceLimits } from '../../../coordinator/serving/service.ts';
import type { AdapterDocument } from '../../../shared/adapters/adapter-document.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';

const limits: ServiceLimits = { adapterBytesMax: 2 ** 30, waitingMax: 64, timeoutMs: 60_000, writersMax: 2 };
const never = new AbortController().signal;

/** One call of the engine that computes. */
interface Call {
  readonly asked: readonly Asked[];
  answer(): void;
  fail(thrown: unknown): void;
}

/** An engine whose calls end when they are told to, and that holds the service to what it promises. */
function createWorld(changes: Partial<ServiceLimits> = {}) {
  const loaded = new Set<string>();
  const computing = new Set<Call>();
  const calls: Call[] = [];
  let coming = Promise.withResolvers<Call>();
  const engine: AnsweringEngine = {
    load: async (key) => {
      assert.ok(!loaded.has(key), `${key} is loaded once`);
      loaded.add(key);
    },
    drop: (key) => {
      for (const { asked } of computing) assert.ok(!asked.some((one) => one.key === key), `${key} is in use`);
      assert.ok(loaded.delete(key), `${key} was loaded`);
    },
    answer: async (asked) => {
      for (const { key } of asked) assert.ok(loaded.has(key), `${key} is there when it is asked`);
      const { promise, resolve, reject } = Promise.withResolvers<readonly Answered[]>();
      const call: Call = {
        asked,
        answer: () => resolve(asked.map(answerTo)),
        fail: reject,
      };
      computing.add(call);
      calls.push(call);
      coming.resolve(call);
      coming = Promise.withResolvers();
      return promise.finally(() => computing.delete(call));
    },
    write: () => Promise.reject(new Error('nothing is written here')),
  };
  const versionOf = (name: string): ServedVersion => ({
    key: name,
    version: '1',
    modelHash: name,
    lineage: null,
    facts: () => ({ dim: 100 }) as ReturnType<ServedVersion['facts']>,
    read: async () => ({}) as AdapterDocument,
  });
  const service = createService({
    engine,
    catalogue: { adapters: [], resolve: (name) => ({ name, version: versionOf(name) }) },
    limits: { ...limits, ...changes },
    figures: createFigures(),
    log: () => undefined,
  });
  return { service, engine, loaded, calls, next: () => coming.promise };
}

function answerTo({ key, inputs }: Asked): Answered {
  return {
    ok: true,
    answers: inputs.map((input) => ({ labels: [{ label: `${key}: ${String(input)}`, probability: 1 }], cut: false })),
  };
}

const ask = (service: Service, adapter: string, texts: readonly string[] = ['a text'], signal = never) =>
  service.classify({ adapter, texts, top: 1 }, signal);
const statusOf = (asked: Promise<unknown>) =>
  asked.then(
    () => 200,
    (thrown: unknown) => refusalOf(thrown).status,
  );

describe('the service of adapters', () => {
  it('[SRV-9] asks for all that wait in one call, whatever their adapters, and gives each its own answer', async () => {
    const { service, calls, next } = createWorld();
    const first = next();
    const asked = ['a', 'b', 'a'].map((adapter, index) => ask(service, adapter, [`text ${index}`]));
    const call = await first;
    assert.deepEqual(call.asked.map(({ key, inputs }) => `${key}: ${inputs.join()}`).sort(), [
      'a: text 0',
      'a: text 2',
      'b: text 1',
    ]);
    // What comes meanwhile makes the next call.
    const second = next();
    const later = ['c', 'b'].map((adapter) => ask(service, adapter));
    await new Promise(setImmediate);
    call.answer();
    const answers = await Promise.all(asked);
    assert.deepEqual(
      answers.map(({ results }) => results),
      ['a: text 0', 'b: text 1', 'a: text 2'].map((label) => [{ labels: [{ label, probability: 1 }], cut: false }]),
    );
    (await second).answer();
    await Promise.all(later);
    assert.deepEqual(
      calls.map((one) => one.asked.map(({ key }) => key).sort()),
      [
        ['a', 'a', 'b'],
        ['b', 'c'],
      ],
    );
  });

  it('[SRV-10] tells who waited too long 504, and keeps their adapter until the engine is done with it', async () => {
    const { service, next, loaded } = createWorld({ timeoutMs: 5, adapterBytesMax: 0 });
    const computing = next();
    assert.equal(await statusOf(ask(service, 'slow')), 504);
    assert.ok(loaded.has('slow'));
    (await computing).answer();
    await new Promise(setImmediate);
    assert.ok(!loaded.has('slow'));
  });

  it('[SRV-11] forgets who left: 499, and what they asked is not computed', async () => {
    const { service, calls, next, loaded } = createWorld({ adapterBytesMax: 0 });
    const first = next();
    const under = ask(service, 'a');
    const call = await first;
    const client = new AbortController();
    const left = statusOf(ask(service, 'b', ['never'], client.signal));
    const second = next();
    const stays = ask(service, 'c');
    await new Promise(setImmediate);
    client.abort(new FederationError('client-left', 'the client went away'));
    assert.equal(await left, 499);
    assert.ok(!loaded.has('b'), 'its adapter makes room at once');
    call.answer();
    (await second).answer();
    await Promise.all([under, stays]);
    assert.deepEqual(
      calls.map(({ asked }) => asked.map(({ key }) => key)),
      [['a'], ['c']],
    );
    assert.equal(service.waiting, 0);
  });

  it('[SRV-12] tells everybody 503 when the engine dies, whether it computed or loaded', async () => {
    const { service, engine, next } = createWorld();
    const dead = new FederationError('engine-died', 'the thread ended');
    const first = next();
    const asked = ['a', 'b'].map((adapter) => statusOf(ask(service, adapter)));
    engine.answer = () => Promise.reject(dead);
    engine.load = () => Promise.reject(dead);
    void first.then(({ fail }) => fail(dead));
    assert.deepEqual(await Promise.all(asked), [503, 503]);
    assert.equal(await statusOf(ask(service, 'c')), 503);
    assert.equal(service.waiting, 0);
  });

  it('[SRV-13] a request that breaks a call fails alone', async () => {
    const { service, engine } = createWorld();
    engine.answer = async (asked) => {
      if (asked.some(({ key }) => key === 'broken')) throw new Error('a bug');
      return asked.map(answerTo);
    };
    const asked = ['a', 'broken', 'b'].map((adapter) => statusOf(ask(service, adapter)));
    assert.deepEqual(await Promise.all(asked), [200, 500, 200]);
  });

  it('[SRV-14] drops no adapter that a call uses, whoever comes and goes', async () => {
    const random = seededRandom(14, 'service');
    // Room for two: the engine of the world objects when one in use is dropped, or one is asked that is not there.
    const { service, calls, loaded } = createWorld({ adapterBytesMax: 800 });
    const asked: Promise<number>[] = [];
    const clients: AbortController[] = [];
    let answered = 0;
    for (let turn = 0; turn < 400; turn++) {
      const what = random.integer(4);
      if (what < 2 && service.waiting < 32) {
        const client = new AbortController();
        clients.push(client);
        asked.push(statusOf(ask(service, `adapter ${random.integer(8)}`, ['a text'], client.signal)));
      } else if (what === 2 && clients.length > 0)
        clients[random.integer(clients.length)]!.abort(new FederationError('client-left', 'went away'));
      else if (answered < calls.length) calls[answered++]!.answer();
      if (random.integer(3) === 0) await new Promise(setImmediate);
    }
    for (let idle = 0; idle < 3; idle++) {
      for (; answered < calls.length; idle = 0) calls[answered++]!.answer();
      await new Promise(setImmediate);
    }
    const statuses = await Promise.all(asked);
    assert.deepEqual(new Set(statuses), new Set([200, 499]));
    assert.ok(statuses.length > 100 && loaded.size <= 2, `${statuses.length} requests, ${loaded.size} in memory`);
  });
});
