/** Federations of tasks beside classification, with real clients, models and evaluations, without sockets. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Learner } from '../../client/learner.ts';
import { taskLearner } from '../../client/task-learner.ts';
import { prepareFederation } from '../../coordinator/prepare.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { viewsOf } from '../../shared/data/row-fields.ts';
import { describeBase } from '../../shared/model/load.node.ts';
import { parsePlan } from '../../shared/plan/plan.ts';
import { parsePolicy } from '../../shared/plan/policy.ts';
import { type EvaluationCounts, mergeCounts } from '../../shared/training/counts.ts';
import { metricsOf } from '../../shared/training/metrics.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import { closeWorlds, startWorld } from '../coordinator/harness.ts';
import { writeSmallBert } from '../helpers/small-bert.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { platformIn, published, runClient } from './memory-federation.ts';

const random = seededRandom(3, 'task-federation');
const letter = (letters: string): string => letters[random.integer(letters.length)]!;

/** Rows of each site by kind of task; sites differ in what their rows are about. */
const records: Readonly<Record<string, (site: number) => object>> = {
  tokens: (site) => {
    const isName = random.uniform() < 0.5;
    return {
      tokens: [isName ? letter('abc') : letter('xyz'), site === 0 ? 'p' : 'q'],
      tags: [isName ? 'B-NAME' : 'O', 'O'],
    };
  },
  masked: (site) => ({ text: site === 0 ? 'ab'.repeat(1 + random.integer(3)) : 'xyz'.repeat(1 + random.integer(2)) }),
  causal: (site) => ({ prompt: `${letter('abc')}${site}`, answer: '=zz' }),
  'multi-label': (site) => ({ text: site === 0 ? 'aa bb' : `${letter('ab')} c`, labels: site === 0 ? ['a', 'b'] : [] }),
};
const tasks = {
  tokens: { kind: 'tokens', labels: ['B-NAME', 'O'], lengthMax: 16 },
  causal: { kind: 'causal', lengthMax: 16 },
  masked: { kind: 'masked', lengthMax: 16 },
  'multi-label': { kind: 'multi-label', labels: ['a', 'b'], pooling: 'mean', lengthMax: 16 },
} as const;

/** A learner whose evaluations are noted. */
function watched(learner: Learner, counts: EvaluationCounts[]): Learner {
  return {
    ...learner,
    prepare: async (...options) => {
      const prepared = await learner.prepare(...options);
      return {
        ...prepared,
        evaluate: async (...parameters) => {
          const found = await prepared.evaluate(...parameters);
          counts.push(found);
          return found;
        },
      };
    },
  };
}

describe('federations of tasks', () => {
  let [folder, bert] = ['', ''];
  before(async () => {
    await useBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tributary-task-federation-'));
    await writeTinyBase(folder);
    bert = join(folder, 'bert');
    await writeSmallBert(bert);
  });
  afterEach(closeWorlds);
  after(() => rmSync(folder, { recursive: true }));

  for (const kind of ['tokens', 'causal', 'masked', 'multi-label'] as const) {
    it(`[TFD-1] ${kind}: rounds make the model better, and the metrics of a version are those of the sites' rows together`, async () => {
      // Only a model that sees both sides of a token has a head that guesses it.
      const base = kind === 'masked' ? bert : folder;
      const plan = parsePlan(
        {
          format: 'tributary-plan-1',
          name: kind,
          base: { digest: (await describeBase(base)).digest },
          task: tasks[kind],
          adapter: { method: 'bottleneck', size: 4 },
          training: { localEpochs: 4, batchSize: 8, learningRate: 0.02, schedule: 'constant' },
          rounds: { count: 3, cohortSize: 2, quorum: 2, recruitSeconds: 10, trainSeconds: 60, evaluateSeconds: 10 },
        },
        'the test',
      );
      const world = await startWorld(await prepareFederation(plan, base, 'the test'));
      const policy = parsePolicy({ cohortMin: 1, quorumMin: 1, discloseMetrics: true }, 'the test');
      const counts: EvaluationCounts[] = [];
      const ended: Promise<unknown>[] = [];
      for (const site of [0, 1]) {
        const rows = (count: number) => viewsOf(Array.from({ length: count }, () => records[kind]!(site)));
        const learner = watched(taskLearner({ train: rows(24), heldOut: rows(10 + 5 * site), backend: 'cpu' }), counts);
        const client = await runClient(world, { platform: platformIn(world, 300 + site), learner, policy });
        ended.push(client.ended);
        assert.deepEqual(client.problems, []);
      }
      await published(world, 3);
      await world.coordinator.ended;
      await Promise.all(ended);
      const versions = await world.coordinator.library();
      const task = bindTask(plan.task);
      const metrics = versions.slice(1).map(({ record }) => record.metrics!);
      assert.equal(metrics[0]!.exampleCount, 25);
      for (const round of [0, 1, 2]) {
        const own = metricsOf(mergeCounts(counts.slice(2 * round, 2 * round + 2), task.shape), task.metrics);
        for (const name of task.metrics) {
          const [found, expected] = [metrics[round]![name], own[name]];
          assert.ok(found === expected || Math.abs(found! - expected!) < 1e-9, `${name}: ${found}, ${expected}`);
        }
      }
      assert.ok(metrics[2]!.loss < 0.95 * metrics[0]!.loss, `${metrics[0]!.loss} to ${metrics[2]!.loss}`);
      const [main] = task.metrics;
      assert.notEqual(metrics[2]![main!], null);
    });
  }
});
