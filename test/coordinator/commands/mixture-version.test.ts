/** What a version of a federation says of a mixture: how the tokens of its last round went over the experts, at all sites together. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '../../../client/client.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { taskLearner } from '../../../client/task-learner.ts';
import type { SiteRouting } from '../../../shared/adapters/routing-statistics.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { document, run, start } from './commands.ts';

describe('versions of a mixture', () => {
  let folder = '';
  const at = (name: string): string => join(folder, name);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-mixture-version-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[MXV-1] adapters show says how a round used the experts, and so does the exported folder', async function () {
    this.timeout(60_000);
    const base = await writeTinyBase(at('base'));
    const plan = {
      format: 'tributary-plan-1',
      name: 'Experts',
      base: { digest: (await describeBase(base)).digest },
      task: { labels: ['early', 'late'], pooling: 'last', lengthMax: 8 },
      adapter: { method: 'mixture', size: 2, experts: 3, choices: 1 },
      training: { localSteps: 2, batchSize: 4 },
      rounds: { count: 1, quorum: 2, cohortSize: 2 },
    };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    const argv = ['--plan', at('plan.json'), '--base', base, '--state', at('state'), '--port', '0'];
    const coordinator = start(['coordinator', ...argv]);
    await coordinator.line(/coordinator of "Experts"/);
    const policy = parsePolicy({ cohortMin: 2, quorumMin: 2, discloseMetrics: true }, 'the test');
    const ends = ['a', 'b'].map(async (name, site) => {
      const invite = (await run(['invite', '--state', at('state'), '--organisation', name])).output.trim();
      const texts = site === 0 ? ['abab', 'aabb', 'xyxy', 'yyxx'] : ['baba', 'bbbb', 'xxyy'];
      const rows = viewsOf(texts.map((text) => ({ text, label: /[ab]/.test(text) ? 'early' : 'late' })));
      const learner = taskLearner({ train: rows, heldOut: rows, backend: 'cpu' });
      const client = await createClient({ platform: await nodePlatform(at(name)), learner, policy, invite, name });
      return client.run();
    });
    const end = await coordinator.ended;
    assert.equal(end.code, 0, end.errors);
    await Promise.all(ends);

    const routingOf = async (...from: string[]): Promise<SiteRouting[]> => {
      const { code, value } = await document(['adapters', 'show', ...from]);
      assert.equal(code, 0);
      return (value as { routing: SiteRouting[] }).routing;
    };
    assert.deepEqual(await routingOf('--state', at('state'), '--version', '0'), [], 'nothing was trained');
    const routing = await routingOf('--state', at('state'));
    assert.deepEqual(
      routing.map(({ site, droppedShare }) => [site, droppedShare]),
      [['layers.0.feedForward', null]],
    );
    const { shares } = routing[0]!;
    assert.equal(shares.length, 3);
    assert.ok(Math.abs(shares.reduce((sum, share) => sum + share) - 1) < 1e-9);
    const people = await run(['adapters', 'show', '--state', at('state')]);
    assert.match(people.output, /routing +of the tokens of the last round over all clients, by expert:\n +layers\.0\./);
    assert.equal((await run(['adapters', 'export', '--state', at('state'), '--out', at('out')])).code, 0);
    assert.deepEqual(await routingOf(at('out')), routing);
  });
});
