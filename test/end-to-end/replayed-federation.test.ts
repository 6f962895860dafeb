/** What `tributary audit verify` makes again of federations whose coordinator computed with rows of its operator: FLTrust, and the gate. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Learner } from '../../client/learner.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { entryOf, payloadOf } from '../../coordinator/audit/log-store.ts';
import { keysOf, replayRound } from '../../coordinator/audit/replay.ts';
import { exchangeForReplay } from '../../coordinator/audit/replay-exchange.ts';
import { verifyLog } from '../../coordinator/audit/verify.ts';
import type { OpenOperator } from '../../coordinator/canary/operator.ts';
import { openOperatorModel } from '../../coordinator/canary/operator-model.ts';
import { register } from '../../coordinator/commands/audit.ts';
import { checkLineage } from '../../coordinator/library/lineage.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { openState } from '../../coordinator/store/state.ts';
import type { VersionRow } from '../../coordinator/store/store.ts';
import { runCommandLine } from '../../shared/command-line/program.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { type CanaryRecord, openCanaryRecord, sealCanaryRecord } from '../../shared/protocol/canary-record.ts';
import { openVersionRecord, sealVersionRecord } from '../../shared/protocol/version-record.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { closeWorlds, seededEntropy, settled, startWorld } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { fakeTerminal } from '../shared/command-line/fake-terminal.ts';
import { platformIn, runClient } from './memory-federation.ts';

const clientCount = 3;
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1 }, 'the test');
const rows = Array.from({ length: 8 }, (_, index) => ({
  text: (index % 2 === 0 ? 'a' : 'b').repeat(8 + (index % 3)),
  label: index % 2 === 0 ? 'no' : 'yes',
}));
const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const own = { file: 'rows.jsonl', digest: digestOf(utf8(text)) };

async function run(...argv: string[]) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { audit: 'audit' }, load: async () => ({ register }) }];
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv, version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('replayed federation', () => {
  let folder = '';
  let digest = '';
  const at = (name: string): string => join(folder, name);
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-replayed-'));
    await writeTinyBase(at('base'));
    await writeTinyBase(at('other-base'), 2);
    ({ digest } = await describeBase(at('base')));
    writeFileSync(at('rows.jsonl'), text);
    writeFileSync(at('other.jsonl'), `${text}\n`);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  /**
   * Runs a federation of three on a state folder; the last one sends what it learned reversed and ten times as long in rounds that `attacks` names. Its
   * coordinator says of adapters what `says` makes of what it measured.
   */
  async function federate(
    state: string,
    changes: object,
    attacks: (roundIndex: number) => boolean,
    says: (metrics: Metrics) => Metrics = (metrics) => metrics,
  ) {
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'replayed',
        base: { digest },
        task: { labels: ['no', 'yes'], pooling: 'mean', lengthMax: 16 },
        adapter: { method: 'none' },
        training: { localSteps: 8, batchSize: 8, learningRate: 0.03, schedule: 'constant' },
        rounds: { count: 2, cohortSize: clientCount, quorum: clientCount, recruitSeconds: 60, trainSeconds: 600 },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: 'off' },
        audit: { retainUpdates: true },
        ...changes,
      },
      'the test',
    );
    const [baseFolder, planFile] = [at('base'), at('plan.json')];
    const openTrue = openOperatorModel({ planFile, baseFolder, backend: 'cpu' });
    const openOperator: OpenOperator = async (given) => {
      const real = await openTrue(given);
      return { ...real, measure: async (adapter) => says(await real.measure(adapter)) };
    };
    const prepared = await prepareFederation(plan, baseFolder, planFile);
    const world = await startWorld({ ...prepared, openOperator, state: await openState(at(state), seededEntropy(91)) });
    const honest = taskLearner({ train: viewsOf(rows), heldOut: [], backend: 'cpu' });
    const hostile: Learner = {
      ...honest,
      prepare: async (...given) => {
        const real = await honest.prepare(...given);
        return {
          ...real,
          train: async (options) => {
            const learned = await real.train(options);
            return attacks(options.roundIndex)
              ? { ...learned, delta: learned.delta.map((value) => -10 * value) }
              : learned;
          },
        };
      },
    };
    const running = [];
    for (let index = 0; index < clientCount; index++) {
      const learner = index === clientCount - 1 ? hostile : honest;
      running.push((await runClient(world, { platform: platformIn(world, 930 + index), learner, policy })).ended);
    }
    let isOver = false;
    const ended = world.coordinator.ended.finally(() => {
      isOver = true;
    });
    // Only the test moves the clock: the gathering after a void round, once for each.
    let gathered = 0;
    while (!isOver) {
      await settled();
      const voids = world.events.filter(({ type }) => type === 'void').length;
      if (voids > gathered) await world.clock.advance(5_000);
      gathered = voids;
    }
    const end = await ended;
    await Promise.all(running);
    await closeWorlds();
    assert.equal(end.status, 'completed', end.detail);
  }

  describe('with FLTrust', () => {
    before(() => federate('trust', { aggregation: { weighting: 'equal', robust: 'fltrust', root: own } }, () => true));
    const verify = (...argv: string[]) => run('audit', 'verify', '--state', at('trust'), ...argv);
    const files = () => ['--base', at('base'), '--root', at('rows.jsonl')];

    it('[RPF-1] makes rounds of FLTrust again with the rows of the root: on the same back end byte for byte', async () => {
      const { code, output, errors } = await verify('--round', 'all', ...files(), '--backend', 'cpu');
      assert.equal(code, 0, errors);
      assert.match(
        output,
        /\nround 0: version 1 made again of 3 updates\nround 1: version 2 made again of 3 updates\neverything holds/,
      );
    });

    it('[RPF-2] on another back end within the tolerance', async () => {
      const { code, output, errors } = await verify('--round', '1', ...files(), '--backend', 'wasm', '--json');
      assert.equal(code, 0, errors);
      const [{ made }] = (JSON.parse(output) as { replayed: [{ made: { deviation: number } }] }).replayed;
      assert.ok(made.deviation < 0.01, `${made.deviation}`);
    });

    it('[RPF-3] without the rows, with other rows or on another base it says what is missing, and makes nothing', async () => {
      for (const [argv, expected] of [
        [['--round', '0'], /round 0 cannot be made again: the rule fltrust .* give them with --root FILE/],
        [['--round', '0', '--root', at('rows.jsonl')], /the base with --base DIR/],
        [['--round', '0', '--base', at('base'), '--root', at('other.jsonl')], /aggregation\.root\.digest names/],
        [['--round', '0', '--base', at('other-base'), '--root', at('rows.jsonl')], /the federation trained on/],
        [['--root', at('rows.jsonl')], /name a --round, or all/],
      ] as const) {
        const { code, errors } = await verify(...argv);
        assert.equal(code, 2, errors);
        assert.match(errors, expected);
      }
      const { code, output } = await verify('--round', 'all');
      assert.equal(code, 0);
      assert.equal(output.match(/cannot be made again: the rule fltrust/g)?.length, 2);
    });

    it('[RPF-6] aggregate-tamper: a version that another step of the coordinator explains is seen', async () => {
      const state = await openState(at('trust'), seededEntropy(93));
      const record = (await state.store.federation())!;
      const versions = checkLineage(await state.store.versions(), {
        coordinatorKey: state.identity.publicKey,
        federation: record,
      });
      const plan = parsePlan(JSON.parse(record.plan), 'the test');
      const openOperator = openOperatorModel({ planFile: at('plan.json'), baseFolder: at('base'), backend: 'cpu' });
      const operator = await openOperator(plan);
      const found: number[][] = [];
      // The step in another length, by half a percent and by two: FLTrust gives the version the length of the step.
      for (const factor of [1, 1.005, 1.02]) {
        const { faults, deviation } = await replayRound({
          ...{ plan, versions, blobs: state.blobs, keys: keysOf(await state.store.clients()) },
          exchange: await exchangeForReplay(plan, record, undefined),
          transcript: (await state.store.log.transcript(0))!,
          judgeAt: () => () => assert.fail('nothing is masked'),
          rootStep: async (...given) => (await operator.rootUpdate(...given)).map((value) => factor * value),
        });
        found.push([Math.round(deviation * 1e4), faults.length]);
      }
      operator.dispose();
      await state.close();
      assert.deepEqual(found, [
        [0, 0],
        [50, 0],
        [200, 1],
      ]);
    });
  });

  describe('behind a gate', () => {
    const canary = { by: 'operator', ...own, drop: 0.2, failuresMax: 2 };
    before(() => federate('gate', { canary }, (roundIndex) => roundIndex === 1));
    const verify = (...argv: string[]) => run('audit', 'verify', '--state', at('gate'), ...argv);

    it('[RPF-4] measures again what the gate let through, and the version that stayed where it refused', async () => {
      const files = ['--base', at('base'), '--canary', at('rows.jsonl'), '--backend', 'cpu'];
      const { code, output, errors } = await verify('--round', 'all', ...files);
      assert.equal(code, 0, errors);
      assert.match(
        output,
        /\nround 0: version 1 made again of 3 updates; gate: its signed numbers pass the gate; measured again\n/,
      );
      assert.match(
        output,
        /\nround 1 cannot be made again: it made no version, and its updates were deleted \(.*worse by more than.*\); gate: its signed numbers fail the gate; the version that stays measured again, the candidate is not kept\n/,
      );
      assert.match(output, /\nround 2: version 2 made again .*\neverything holds/);
      assert.match((await verify('--round', '0')).output, /pass the gate; --canary FILE measures again\n/);
    });

    it('[RPF-5] a log whose signed numbers do not decide as the gate did does not hold', async () => {
      const state = await openState(at('gate'), seededEntropy(92));
      const document = {
        federation: (await state.store.federation())!,
        coordinatorKey: toHex(state.identity.publicKey),
        rows: await state.store.log.rows(0),
        checkpoints: await state.store.log.checkpoints(),
        versions: await state.store.versions(),
      };
      await state.close();
      assert.deepEqual(verifyLog(document).faults, []);
      const codesOf = (changes: object): string[] =>
        verifyLog({ ...document, ...changes }).faults.map(({ code }) => code);
      const under = (canaryOfPlan: object): string[] => {
        const plan = JSON.parse(document.federation.plan) as object;
        const federation = { ...document.federation, plan: JSON.stringify({ ...plan, canary: canaryOfPlan }) };
        return codesOf({ federation });
      };
      assert.deepEqual(under({ ...canary, drop: 0.9 }), ['changed-plan']);

      // Signed by the coordinator itself, which the log contradicts besides.
      const [first, published, ...later] = document.versions;
      const measuring = (numbers: Readonly<Record<string, number>>): VersionRow => {
        const signed = { record: fromHex(published!.record), signature: fromHex(published!.signature) };
        const opened = openVersionRecord(state.identity.publicKey, signed);
        assert.ok(opened.ok);
        const measures = opened.value.measures.map(({ name, value }) => ({ name, value: numbers[name] ?? value }));
        const again = sealVersionRecord(state.identity, { ...opened.value, measures });
        return { ...published!, record: toHex(again.record), signature: toHex(again.signature) };
      };
      assert.deepEqual(codesOf({ versions: [first!, measuring({ canary: 0.8, 'canary-before': 0.9 }), ...later] }), [
        'aggregate-tamper',
      ]);
      assert.deepEqual(codesOf({ versions: [first!, measuring({ canary: 0.6, 'canary-before': 0.9 }), ...later] }), [
        'aggregate-tamper',
        'gate-passed',
      ]);

      const place = document.rows.findIndex((row) => entryOf(row).type === 'candidate-refused');
      const refusing = (changes: Partial<CanaryRecord>): string[] => {
        const payload = payloadOf(document.rows[place]!);
        const signed = { record: fromHex(String(payload.record)), signature: fromHex(String(payload.signature)) };
        const opened = openCanaryRecord(state.identity.publicKey, signed);
        assert.ok(opened.ok);
        const again = sealCanaryRecord(state.identity, { ...opened.value, ...changes });
        const text = JSON.stringify({ ...payload, record: toHex(again.record), signature: toHex(again.signature) });
        return codesOf({ rows: document.rows.with(place, { ...document.rows[place]!, payload: text }) });
      };
      assert.deepEqual(refusing({ reason: 'another word' }), ['changed-details']);
      assert.deepEqual(refusing({ candidate: 1 }), ['changed-details', 'refused-candidate']);
      const asPublished = refusing({ roundIndex: published!.roundIndex, parentModelHash: first!.modelHash });
      assert.deepEqual(asPublished, ['changed-details', 'refused-candidate']);
    });

    it('[RPF-7] canary-differs: numbers that the rows do not give are seen, of a version and of the one that stayed', async () => {
      const bent = (metrics: Metrics): Metrics => ({ ...metrics, accuracy: 0.3 + 0.2 * metrics.accuracy });
      await federate('bent', { canary: { ...canary, drop: 0.1 } }, (roundIndex) => roundIndex === 1, bent);
      const check = (...argv: string[]) => run('audit', 'verify', '--state', at('bent'), '--round', ...argv);
      assert.match((await check('all')).output, /everything holds/, 'without the rows nobody can tell');
      const files = ['--base', at('base'), '--canary', at('rows.jsonl'), '--backend', 'cpu'];
      for (const [roundIndex, what, count] of [
        ['0', 'the candidate', 2],
        ['1', 'the version that stays', 1],
      ] as const) {
        const { code, output } = await check(roundIndex, ...files);
        assert.equal(code, 1, output);
        const said = new RegExp(
          `canary-differs: round ${roundIndex}, accuracy of ${what}: signed was .*, the rows give`,
        );
        assert.match(output, said);
        assert.match(output, new RegExp(`\n${count} faults?\n`));
      }
    });
  });
});
