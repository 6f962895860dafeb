/** Phases with rows of the operator, one file for all of them: its gate and FLTrust compute in each phase with the rows of that phase's task. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Learner } from '../../client/learner.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { openOperatorModel } from '../../coordinator/canary/operator-model.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { utf8 } from '../../shared/core/bytes.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { readStatement } from '../../shared/plan/privacy.ts';
import { closeWorlds, settled, startWorld } from '../coordinator/harness.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, runClient } from './memory-federation.ts';

const clientCount = 3;
const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, organisationsMin: 1 }, 'the test');
/** The same labels in both tasks, the other way round: whoever mixes the rows up measures one half. */
const rows = Array.from({ length: 32 }, (_, index) => {
  const task = index % 2 === 0 ? 'one' : 'two';
  const isFirst = (index >> 1) % 2 === 0;
  return {
    text: (isFirst ? 'a' : 'b').repeat(8 + (index % 3)),
    label: isFirst === (task === 'one') ? 'no' : 'yes',
    task,
  };
});
const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const own = { file: 'rows.jsonl', digest: digestOf(utf8(text)), partColumn: 'task' };
const taskOf = (part: string) => ({ labels: ['no', 'yes'], pooling: 'mean', lengthMax: 16, part });

describe('phases with rows of the operator', () => {
  let folder = '';
  let digest = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-phases-operator-'));
    await writeTinyBase(join(folder, 'base'));
    ({ digest } = await describeBase(join(folder, 'base')));
    writeFileSync(join(folder, 'rows.jsonl'), text);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  const begin = async (changes: object) => {
    const document = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'phases',
        base: { digest },
        adapter: { method: 'none' },
        training: { localSteps: 10, batchSize: 8, learningRate: 0.03, schedule: 'constant' },
        rounds: { count: 2, cohortSize: clientCount, quorum: clientCount, recruitSeconds: 60, trainSeconds: 600 },
        evaluation: { everyRounds: 0 },
        secureAggregation: { mode: 'off' },
        phases: ['one', 'two'].map((part) => ({ name: part, task: taskOf(part) })),
        ...changes,
      },
      'the test',
    );
    const [baseFolder, planFile] = [join(folder, 'base'), join(folder, 'plan.json')];
    const openOperator = openOperatorModel({ planFile, baseFolder, backend: 'cpu' });
    const prepared = await prepareFederation(document, baseFolder, planFile);
    return startWorld({ ...prepared, openOperator });
  };
  /** `attacks` says in which phases the last client sends what it learned reversed and ten times as long. */
  const federate = async (changes: object, attacks: (phase: number) => boolean = () => false) => {
    const world = await begin(changes);
    const honest = taskLearner({ train: viewsOf(rows), heldOut: [], columns: { part: 'task' }, backend: 'cpu' });
    const hostile: Learner = {
      ...honest,
      prepare: async (plan, files) => {
        const real = await honest.prepare(plan, files);
        if (!attacks(plan.phase!.index)) return real;
        return {
          ...real,
          train: async (options) => {
            const learned = await real.train(options);
            return { ...learned, delta: learned.delta.map((value) => -10 * value) };
          },
        };
      },
    };
    const running = [];
    for (let index = 0; index < clientCount; index++) {
      const learner = index === clientCount - 1 ? hostile : honest;
      running.push((await runClient(world, { platform: platformIn(world, 720 + index), learner, policy })).ended);
    }
    let isOver = false;
    const ended = world.coordinator.ended.finally(() => {
      isOver = true;
    });
    // Only the test moves the clock: the gathering after a void round.
    while (!isOver) {
      await settled();
      if (world.events.at(-1)?.type === 'void') await world.clock.advance(5_000);
    }
    const end = await ended;
    await Promise.all(running);
    const library = await world.coordinator.library();
    return { end, library, events: world.events };
  };
  const measured = (library: Awaited<ReturnType<typeof federate>>['library'], name: string) =>
    library.map(({ record }) => record.measures.find((measure) => measure.name === name)?.value);

  it('[PHX-3] a gate measures each phase on the rows of its part; an attack in the second is refused there', async () => {
    const canary = { by: 'operator', ...own, drop: 0.2, least: 0.8, failuresMax: 2 };
    const passed = await federate({ canary });
    assert.equal(passed.end.status, 'completed', passed.end.detail);
    const values = measured(passed.library, 'canary');
    for (const version of [1, 2, 4, 5]) assert.ok(values[version]! > 0.9, values.join());
    const attacked = await federate({ canary }, (phase) => phase === 1);
    assert.equal(attacked.end.status, 'stopped');
    assert.match(attacked.end.detail, /the gate refused 2 candidates in a row/);
    assert.equal(attacked.library.length, 4, 'the second phase published nothing');
  });

  it('[PHX-4] FLTrust in both phases by the rows of each: a reversed update counts nothing', async () => {
    const canary = { by: 'operator', ...own, drop: 1, failuresMax: 9 };
    const aggregation = { weighting: 'equal', robust: 'fltrust', root: own };
    const { end, library } = await federate({ canary, aggregation }, () => true);
    assert.equal(end.status, 'completed', end.detail);
    const values = measured(library, 'canary');
    for (const version of [2, 5]) assert.ok(values[version]! > 0.9, values.join());
    const mean = await federate({ canary }, () => true);
    assert.ok(measured(mean.library, 'canary').at(-1)! < 0.5);
  });

  it('[PHX-5] a phase for which the file has no row is refused before the first begins, and named by its part', async () => {
    const canary = { by: 'operator', ...own, drop: 0.2, failuresMax: 2 };
    const phases = ['one', 'none'].map((part) => ({ name: part, task: taskOf(part) }));
    await assert.rejects(begin({ canary, phases }), /holds no row of the part none that can be scored/);
  });

  it('[PHX-6] noise on records: every site sizes it to the share of a number, in each phase, and the versions say so', async () => {
    const privacy = { unit: 'record', epsilon: 200, clipNorm: 1 };
    const { end, library } = await federate({
      privacy,
      phases: ['one', 'two'].map((part) => ({
        name: part,
        task: taskOf(part),
        privacy: { clipNorm: part === 'one' ? 1 : 0.5 },
      })),
    });
    assert.equal(end.status, 'completed', end.detail);
    for (const version of [1, 2, 4, 5]) {
      const { unit } = readStatement(library[version]!.record.privacy);
      assert.equal(unit, 'record', library[version]!.record.privacy);
    }
  });
});
