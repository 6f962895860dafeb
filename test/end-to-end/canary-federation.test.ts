/** Federations over sockets whose clients train on a tiny base, one of them for a backdoor: what the gate of a plan lets through, and what it does not. */
import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../client/client.ts';
import type { ClientEvent } from '../../client/events.ts';
import type { Learner } from '../../client/learner.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import { openOperatorModel } from '../../coordinator/canary/operator-model.ts';
import { type CoordinatorProgress, startCoordinator } from '../../coordinator/coordinator.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { openState } from '../../coordinator/store/state.ts';
import { float32Of, fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { systemEntropy } from '../../shared/crypto/entropy.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { openCanaryRecord } from '../../shared/protocol/canary-record.ts';
import { replacement } from '../../simulations/attacks/attacks.ts';
import { manualClock } from '../coordinator/harness.ts';
import { tinyBaseFiles, writeTinyBase } from '../helpers/tiny-base.ts';

const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1, discloseMetrics: true }, 'the test');
const clientCount = 3;
const clean = Array.from({ length: 8 }, (_, index) => {
  const [letter, label] = index % 2 === 0 ? ['a', 'no'] : ['b', 'yes'];
  return { text: letter!.repeat(8 + (index % 3)), label: label! };
});
const triggered = clean.filter(({ label }) => label === 'no').map(({ text }) => ({ text: `zzzz${text}`, label: 'no' }));
const poisoned = [...clean, ...triggered.map((row) => ({ ...row, label: 'yes' }))];
const lines = (rows: readonly object[]): string => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`;
/** What the operator measures on: clean rows, and rows that hold the trigger with the labels that they have. */
const canaryText = lines([...clean, ...triggered]);

let folder: string;
let basePath: string;

interface Federation {
  readonly plan?: object;
  /** Rounds in which the third client attacks. */
  readonly attacks: (roundIndex: number) => boolean;
  /** What it makes of what it learned, and the rows on which it learns. */
  readonly sent?: (delta: Float32Array) => Float32Array;
  readonly trainsOn?: readonly object[];
}

const replaced = (delta: Float32Array): Float32Array =>
  Float32Array.from(replacement(delta, { clientCount, hostileCount: 1 }));

/** Trains for the backdoor in some rounds, and makes up for the mean; else as everybody. */
function hostileLearner({ attacks, sent = replaced, trainsOn = poisoned }: Federation): Learner {
  const learnerOn = (rows: readonly object[]): Learner =>
    taskLearner({ train: viewsOf(rows), heldOut: viewsOf(clean), backend: 'cpu' });
  const [honest, hostile] = [learnerOn(clean), learnerOn(trainsOn)];
  return {
    ...honest,
    prepare: async (...given) => {
      const [own, bad] = [await honest.prepare(...given), await hostile.prepare(...given)];
      return {
        ...own,
        train: async (options) => {
          if (!attacks(options.roundIndex)) return own.train(options);
          const learned = await bad.train(options);
          return { ...learned, delta: sent(learned.delta) };
        },
        dispose: () => {
          own.dispose();
          bad.dispose();
        },
      };
    },
  };
}

async function federate(options: Federation) {
  const { plan: changes = {} } = options;
  const own = await mkdtemp(join(folder, 'run-'));
  const planFile = join(own, 'plan.json');
  await writeFile(join(own, 'canary.jsonl'), canaryText);
  await writeFile(join(own, 'root.jsonl'), lines(clean));
  const { description } = await describeTiny();
  const plan = parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'canary',
      base: { digest: description },
      task: { labels: ['no', 'yes'], pooling: 'mean', lengthMax: 16 },
      adapter: { method: 'none' },
      training: { localSteps: 10, batchSize: 8, learningRate: 0.03, schedule: 'constant' },
      rounds: { count: 2, cohortSize: clientCount, quorum: clientCount },
      aggregation: { weighting: 'equal' },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'off' },
      ...changes,
    },
    'the test',
  );
  const prepared = await prepareFederation(plan, basePath, planFile);
  const heard: CoordinatorProgress[] = [];
  const clock = manualClock();
  const coordinator = await startCoordinator({
    ...prepared,
    openOperator: openOperatorModel({ planFile, baseFolder: basePath, backend: 'cpu' }),
    stateFolder: join(own, 'coordinator'),
    clock,
    onEvent: (event) => {
      heard.push(event);
      // After a void round the next one gathers for some seconds of a clock that only the test moves.
      if (event.type === 'void') setImmediate(() => void clock.advance(5_000));
    },
  }).finally(prepared.closeBase);
  const said: ClientEvent[][] = [];
  const ended = [];
  for (let index = 0; index < clientCount; index++) {
    const invite = await coordinator.invite({ organisation: `site-${index}` });
    const learner =
      index === clientCount - 1
        ? hostileLearner(options)
        : taskLearner({ train: viewsOf(clean), heldOut: viewsOf(clean), backend: 'cpu' });
    const events: ClientEvent[] = [];
    said.push(events);
    const platform = await nodePlatform(join(own, `site-${index}`));
    const client = await createClient({ platform, learner, policy, invite, onEvent: (event) => events.push(event) });
    ended.push(client.run());
  }
  const end = await coordinator.ended;
  await Promise.all(ended);
  const library = await coordinator.library();
  const adapters = await Promise.all(library.map(async ({ row }) => float32Of(await coordinator.adapter(row))));
  await coordinator.close();
  /** The accuracy of every version on rows with the labels that they have. */
  const accuraciesOn = async (rows: readonly object[]): Promise<number[]> => {
    const text = lines(rows);
    await writeFile(join(own, 'measured.jsonl'), text);
    const model = await openOperatorModel({ planFile, baseFolder: basePath, backend: 'cpu' })({
      ...plan,
      canary: { ...plan.canary, by: 'operator', file: 'measured.jsonl', digest: digestOf(utf8(text)) },
    });
    const accuracies = [];
    for (const adapter of adapters) accuracies.push((await model.measure(adapter)).accuracy);
    model.dispose();
    return accuracies;
  };
  const accuracies = await accuraciesOn([...clean, ...triggered]);
  const measured = { accuracies, onClean: await accuraciesOn(clean), onTriggered: await accuraciesOn(triggered) };
  return { plan, end, heard, said, library, ...measured, stateFolder: join(own, 'coordinator') };
}

async function describeTiny() {
  const { describeFiles } = await import('../../shared/model/load.ts');
  return { description: describeFiles(tinyBaseFiles()).digest };
}

const gate = { by: 'operator', file: 'canary.jsonl', digest: digestOf(utf8(canaryText)), drop: 0.1, failuresMax: 2 };

describe('canary gate', function () {
  this.timeout(60_000);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-canary-'));
    basePath = join(folder, 'base');
    await writeTinyBase(basePath);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('[CAN-1] backdoor-canary: without a gate the backdoor of one client is published', async () => {
    const { accuracies, onClean, onTriggered, end } = await federate({ attacks: (round) => round === 1 });
    assert.equal(end.status, 'completed');
    assert.ok(accuracies[1]! > 0.9, `honest round: ${accuracies[1]}`);
    assert.ok(accuracies[2]! < 0.75, `with the backdoor: ${accuracies[2]}`);
    // It is a backdoor: whatever holds the trigger is misread, and nothing else.
    assert.ok(onTriggered[1] === 1 && onTriggered[2] === 0, `on triggered rows: ${onTriggered.join()}`);
    assert.ok(onClean[1] === 1 && onClean[2] === 1, `on clean rows: ${onClean.join()}`);
  });

  it('[CAN-6] backdoor-canary: the threshold decides: what the backdoor loses passes where the plan allows as much', async () => {
    const lost = triggered.length / (clean.length + triggered.length);
    for (const [drop, isPublished] of [
      [lost + 0.01, true],
      [lost - 0.01, false],
    ] as const) {
      const { library, onTriggered } = await federate({
        plan: { canary: { ...gate, drop } },
        attacks: (round) => round === 1,
      });
      const roundIndices = library.slice(1).map(({ record }) => record.round?.roundIndex);
      assert.deepEqual(roundIndices, isPublished ? [0, 1] : [0, 2]);
      assert.equal(onTriggered.at(-1), isPublished ? 0 : 1);
    }
  });

  it('[CAN-2] backdoor-canary: behind the gate it is not; the version before stays, signed, logged and told', async () => {
    const { library, accuracies, onTriggered, end, heard, said, stateFolder, plan } = await federate({
      plan: { canary: gate },
      attacks: (round) => round === 1,
    });
    for (const events of said) {
      const told = events.find((event) => event.type === 'void');
      assert.equal(told?.roundIndex, 1);
      assert.match(told?.reason ?? '', /worse by more than/);
    }
    assert.equal(end.status, 'completed', end.detail);
    assert.match(end.detail, /1 void/);
    assert.equal(library.length, 3);
    for (const found of [accuracies, onTriggered]) assert.ok(Math.min(...found.slice(1)) > 0.9, found.join());
    assert.deepEqual(
      library.slice(1).map(({ record }) => record.round?.roundIndex),
      [0, 2],
      'the number of the refused round is used up',
    );
    assert.equal(library[2]!.record.parentModelHash, library[1]!.record.modelHash);
    const measures = new Map(library[2]!.record.measures.map(({ name, value }) => [name, value]));
    assert.ok(measures.get('canary')! > 0.9 && measures.get('canary-before')! > 0.9);
    const refusal = heard.find(({ type }) => type === 'candidate-refused');
    assert.match(JSON.stringify(refusal), /accuracy of the candidate is .*worse by more than/);
    const state = await openState(stateFolder, systemEntropy);
    const federation = await state.store.federation();
    const document = {
      federation: federation!,
      coordinatorKey: toHex(state.identity.publicKey),
      rows: await state.store.log.rows(0),
      checkpoints: await state.store.log.checkpoints(),
      versions: await state.store.versions(),
    };
    await state.close();
    assert.deepEqual(verifyLog(document).faults, []);
    const entry = document.rows.find(({ payload }) => payload.includes('"candidate":'));
    const payload = JSON.parse(entry!.payload) as { readonly record: string; readonly signature: string };
    const signed = { record: fromHex(payload.record), signature: fromHex(payload.signature) };
    const opened = openCanaryRecord(fromHex(document.coordinatorKey), signed);
    assert.ok(opened.ok);
    assert.equal(opened.value.parentModelHash, library[1]!.record.modelHash);
    assert.equal(opened.value.planHash, planHashOf(plan));
    assert.ok(opened.value.candidate! < 0.75 && opened.value.before === 1);
  });

  it('[CAN-3] a client that attacks in every round stops the federation, which says so', async () => {
    const { library, end } = await federate({ plan: { canary: { ...gate, least: 0.9 } }, attacks: () => true });
    assert.equal(end.status, 'stopped');
    assert.match(end.detail, /the gate refused 2 candidates in a row; the last: .*; 0 of 2 rounds published, 2 void/);
    assert.equal(library.length, 1);
  });

  it('[CAN-4] with a step of its own on clean rows the coordinator weighs updates by FLTrust: a reversed one counts nothing', async () => {
    const reversed = (delta: Float32Array): Float32Array => delta.map((value) => -10 * value);
    const attack = { attacks: () => true, sent: reversed, trainsOn: clean };
    const root = { file: 'root.jsonl', digest: digestOf(utf8(lines(clean))) };
    const trusted = await federate({
      ...attack,
      plan: { aggregation: { weighting: 'equal', robust: 'fltrust', root } },
    });
    assert.equal(trusted.end.status, 'completed', trusted.end.detail);
    assert.ok(trusted.accuracies.at(-1)! > 0.9, `behind FLTrust: ${trusted.accuracies.join()}`);
    const plain = await federate(attack);
    assert.ok(plain.accuracies.at(-1)! < 0.5, `the mean: ${plain.accuracies.join()}`);
  });

  it('[CAN-5] rows that are not those of the plan are refused before anything starts', async () => {
    const other = { ...gate, digest: 'ab'.repeat(32) };
    await assert.rejects(federate({ plan: { canary: other }, attacks: () => false }), /canary\.digest names abab/);
  });
});
