/** The commands of an operator against one federation over real sockets: start, invite, stop, go on, look at the result, export it. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../../../client/client.ts';
import { createClient } from '../../../client/client.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { taskLearner } from '../../../client/task-learner.ts';
import { describeMeasures } from '../../../coordinator/commands/describe-event.ts';
import { readAdapterFolder } from '../../../shared/adapters/adapter-folder.node.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { parsePolicy } from '../../../shared/plan/policy.ts';
import { labelsOfTask } from '../../../shared/plan/task.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { document, run, start } from './commands.ts';

const rows = ['abab', 'aabb', 'baba', 'xyxy', 'yyxx', 'xxyy'].map((text, index) => ({
  line: index + 1,
  text,
  label: text.includes('a') ? 'early' : 'late',
}));
const policy = parsePolicy({ cohortMin: 2, quorumMin: 2, discloseMetrics: true }, 'the test');

interface RunDocument {
  readonly status: string;
  readonly detail: string;
  readonly rounds: readonly { readonly roundIndex: number; readonly status: string }[];
  readonly versions: readonly { readonly version: number; readonly metrics: { readonly accuracy: number } | null }[];
  readonly bytes: { readonly up: number; readonly down: number };
}

describe('commands of the coordinator', () => {
  it('[CMD-20] says what an aggregation measured in its own unit: ranks are counts, losses nats, the others shares', () => {
    const measures = [
      { name: 'factor-bias', value: 0.0123 },
      { name: 'rank', value: 8 },
      { name: 'train-loss', value: 0.5 },
    ] as const;
    assert.equal(describeMeasures(measures), 'factor bias 1.23 %, rank 8, train loss 0.5000');
  });

  let folder = '';
  let base = '';
  const at = (name: string): string => join(folder, name);
  const state = (): string => at('state');
  const commandFor = (plan: string, stateName: string) =>
    ['coordinator', '--plan', at(plan), '--base', base, '--state', at(stateName), '--port', '0'] as const;
  const coordinator = (...argv: string[]) => [...commandFor('plan.json', 'state'), ...argv];
  const clientOf = async (name: string, invite: string): Promise<Client> =>
    createClient({
      platform: await nodePlatform(at(name)),
      learner: taskLearner({ train: viewsOf(rows), heldOut: viewsOf(rows), backend: 'cpu' }),
      policy,
      invite,
      name,
    });

  before(async function () {
    this.timeout(60_000);
    folder = mkdtempSync(join(tmpdir(), 'tributary-commands-'));
    base = await writeTinyBase(join(folder, 'base'));
    const { digest } = await describeBase(base);
    const plan = {
      format: 'tributary-plan-1',
      name: 'Two kinds',
      base: { digest },
      task: { labels: ['early', 'late'], pooling: 'last', lengthMax: 8 },
      adapter: { method: 'lora', rank: 2 },
      training: { localSteps: 2, batchSize: 4 },
      rounds: { count: 2, quorum: 2, cohortSize: 2 },
    };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    writeFileSync(at('wrong.json'), JSON.stringify({ ...plan, base: { digest: 'ab'.repeat(32) } }));
    writeFileSync(at('endless.json'), JSON.stringify({ ...plan, rounds: { ...plan.rounds, count: 9 } }));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('[CMD-1] before the first start there is nothing to invite to, to list or to show', async () => {
    for (const argv of [
      ['invite', '--state', state(), '--organisation', 'A'],
      ['invite', 'list', '--state', state()],
      ['adapters', 'list', '--state', state()],
    ]) {
      const { code, value } = await document(argv);
      assert.equal(code, 2);
      assert.equal((value as { error: { code: string } }).error.code, 'no-federation');
    }
    assert.deepEqual(readdirSync(folder).includes('state'), false, 'looking makes no state');
  });

  it('[CMD-2] a plan for another base, and options that cannot be, are refused', async () => {
    const wrong = await run(['coordinator', '--plan', at('wrong.json'), '--base', base, '--state', state()]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.errors, /base\.digest.*must be/);
    assert.equal((await run(coordinator('--port', '70000'))).code, 2);
    assert.equal((await run(coordinator('--public-url', 'example.org'))).code, 2);
  });

  it('[CMD-3] start, interrupt, go on: invites and approvals of another process are seen, the end is one document', async function () {
    this.timeout(60_000);
    const first = start(coordinator());
    const [, url] = await first.line(/coordinator of "Two kinds" at (http:\S+), fingerprint [A-Z2-7-]{39}\n/);
    await first.line(/can read every single delta/);
    const second = await run(coordinator());
    assert.equal(second.code, 2);
    assert.match(second.errors, /another coordinator runs on/);

    const code = await run(['invite', '--state', state(), '--organisation', 'Ward A']);
    assert.match(code.output, /^tributary-1\.[A-Za-z0-9_-]+\n$/);
    const manual = await document(['invite', '--state', state(), '--organisation', 'Ward B', '--approval', 'manual']);
    const invited = manual.value as { code: string; url: string; approval: string };
    assert.equal(invited.url, url);
    first.interrupt();
    const stopped = await first.ended;
    assert.equal(stopped.code, 0, stopped.errors);
    assert.match(stopped.output, /^stopped: stopped by its operator; 0 of 2 rounds published\n/);

    const again = start(coordinator('--json', '--port', new URL(url!).port));
    await again.line(/coordinator of/);
    const clients = [await clientOf('a', code.output), await clientOf('b', invited.code)];
    const ends = clients.map((client) => client.run());
    const [, waiting] = await again.line(/enrolled "b" as [0-9a-f]{8} \((pending)\); it waits: compare fingerprints/);
    assert.equal(waiting, 'pending');
    assert.equal((await run(['invite', 'approve', 'AAAA', '--state', state()])).code, 2);
    const approved = await document(['invite', 'approve', clients[1]!.fingerprint, '--state', state()]);
    assert.equal((approved.value as { status: string }).status, 'approved');
    const end = await again.ended;
    assert.equal(end.code, 0, end.errors);
    assert.match(end.errors, /round 0 published as version 1 with 2 of 2 clients.*: accuracy /);
    for (const ended of ends) assert.equal((await ended).kind, 'completed');
    const report = JSON.parse(end.output) as RunDocument;
    assert.equal(report.status, 'completed');
    assert.deepEqual(
      report.versions.map(({ version }) => version),
      [0, 1, 2],
    );
    assert.ok(report.versions[2]!.metrics!.accuracy >= 0);
    assert.deepEqual(
      report.rounds.map(({ status }) => status),
      ['published', 'published'],
    );
    const { bytesUp } = clients[0]!.traffic();
    assert.ok(report.bytes.up > 1.5 * bytesUp && report.bytes.down > 0);
  });

  it('[CMD-4] lists codes and clients, and revokes one', async () => {
    const { value } = await document(['invite', 'list', '--state', state()]);
    const { invites, clients } = value as {
      invites: { status: string }[];
      clients: { name: string; fingerprint: string }[];
    };
    assert.deepEqual(
      invites.map(({ status }) => status),
      ['used', 'used'],
    );
    assert.deepEqual(clients.map(({ name }) => name).sort(), ['a', 'b']);
    const text = await run(['invite', 'list', '--state', state()]);
    assert.match(text.output, /Ward B +manual +used/);
    const revoked = await run(['invite', 'revoke', clients[0]!.fingerprint, '--state', state()]);
    assert.match(revoked.output, /is revoked/);
  });

  it('[CMD-5] lists versions, shows one with its checked lineage, and exports it with its signed record', async () => {
    const list = await run(['adapters', 'list', '--state', state()]);
    assert.equal(list.output.split('\n').filter((line) => /2 of 2/.test(line)).length, 2);
    const shown = await document(['adapters', 'show', '--state', state(), '--version', '1']);
    const { version, checked, parentModelHash } = shown.value as {
      version: number;
      checked: boolean;
      parentModelHash: string;
    };
    assert.deepEqual([version, checked], [1, true]);
    assert.match(parentModelHash, /^[0-9a-f]{64}$/);
    assert.match(
      (await run(['adapters', 'show', '--state', state()])).output,
      /^version 2, .*signature, lineage and bytes are correct/,
    );
    const out = at('exported');
    const exported = await run(['adapters', 'export', '--state', state(), '--out', out]);
    assert.equal(exported.code, 0, exported.errors);
    const adapter = await readAdapterFolder(out, { base: await describeBase(base) });
    assert.equal(adapter.adapter.method, 'lora');
    assert.deepEqual(labelsOfTask(adapter.task), ['early', 'late']);
    assert.ok(adapter.lineage !== null);
    const own = await run(['adapters', 'show', out]);
    assert.match(
      own.output,
      /lineage +version 2 of federation [0-9a-f]{64}, signature is correct[\s\S]*contributors +2 of 2/,
    );
    const asPeft = ['adapters', 'export', '--state', state(), '--format', 'peft', '--lora-only', '--out', at('peft')];
    const foreign = await run(asPeft);
    assert.equal(foreign.code, 0, foreign.errors);
    const card = readFileSync(join(at('peft'), 'README.md'), 'utf8');
    assert.match(card, /# Two kinds\n[\s\S]*\| 0 \| 2 \| 2 \| [\s\S]*\| 1 \| 2 \| 2 \| [\s\S]*Privacy spent: none/);
    assert.match(card, /^license: unknown$/m);
    writeFileSync(join(base, 'README.md'), '---\nlicense: mit\n---\n');
    assert.equal((await run([...asPeft.slice(0, -1), at('licensed'), '--base', base])).code, 0);
    assert.match(readFileSync(join(at('licensed'), 'README.md'), 'utf8'), /^license: mit$/m);
    const other = await run([...asPeft.slice(0, -1), at('other'), '--base', await writeTinyBase(at('other-base'), 2)]);
    assert.match(other.errors, /has the digest [0-9a-f]{64}, the federation trained on [0-9a-f]{64}/);
    assert.match(card, /## Evaluation\n\nOn held-out rows[\s\S]*\| 0 \| \d+ \|[\s\S]*\| 1 \| \d+ \|/);
    assert.equal((await run(['adapters', 'show', '--state', state(), '--version', '3'])).code, 2);
    assert.equal((await run(['adapters', 'show', '--state', state(), '--version', '-1'])).code, 2);
  });

  it('[CMD-6] a federation that has ended is complete at once; another plan on its state is refused', async () => {
    const again = await run(coordinator('--json'));
    assert.equal(again.code, 0, again.errors);
    assert.equal((JSON.parse(again.output) as RunDocument).status, 'completed');
    const other = await run([
      'coordinator',
      '--plan',
      at('endless.json'),
      '--base',
      base,
      '--state',
      state(),
      '--port',
      '0',
    ]);
    assert.equal(other.code, 2);
    assert.match(other.errors, /the state holds a federation with plan/);
  });

  it('[CMD-7] a damaged blob is neither shown nor exported, and a damaged record names its version', async () => {
    const shown = await document(['adapters', 'show', '--state', state()]);
    const { adapterDigest } = shown.value as { adapterDigest: string };
    const blob = join(state(), 'blobs', 'sha256', adapterDigest.slice(0, 2), adapterDigest.slice(2));
    const bytes = readFileSync(blob);
    bytes[0]! ^= 1;
    writeFileSync(blob, bytes);
    for (const argv of [['show'], ['export', '--out', at('damaged')]]) {
      const { code, value } = await document(['adapters', ...argv, '--state', state()]);
      assert.equal(code, 1);
      assert.equal((value as { error: { code: string } }).error.code, 'blob-corrupt');
    }
    assert.equal(readdirSync(folder).includes('damaged'), false);
    assert.equal((await run(['adapters', 'show', '--state', state(), '--version', '1'])).code, 0);
  });

  it('[CMD-8] clients that never come end the federation as stopped, which is a failure', async () => {
    const plan = JSON.parse(readFileSync(at('plan.json'), 'utf8')) as { rounds: object };
    writeFileSync(at('short.json'), JSON.stringify({ ...plan, rounds: { ...plan.rounds, waitSeconds: 1 } }));
    const ended = await run([...commandFor('short.json', 'lonely'), '--json']);
    assert.equal(ended.code, 1);
    const { status, detail } = JSON.parse(ended.output) as RunDocument;
    assert.equal(status, 'stopped');
    assert.match(detail, /only 0 of 2 clients that the quorum needs were connected/);
  });
});
