/** A federation of three sites of which one withdraws, by the commands that people use, in processes of their own. */
import { strict as assert } from 'node:assert';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBase } from '../../shared/model/load.node.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { commandProcesses, movingDeadline, type RunningCommand } from './command-processes.ts';

const roundCount = 8;

describe('withdrawal by commands', function () {
  const processes = commandProcesses(movingDeadline(this));
  const { start, run, kill } = processes;
  let folder = '';
  let base = '';
  const at = (name: string): string => join(folder, name);
  const inState = (): readonly string[] => ['--state', at('state')];
  const coordinator = (port: string) =>
    start('coordinator', '--plan', at('plan.json'), '--base', base, ...inState(), '--port', port);
  const client = (name: string, ...more: readonly string[]) =>
    start(
      ...['client', '--state', at(name), '--train', at(`${name}.jsonl`), '--policy', at('policy.json')],
      ...['--backend', 'cpu', ...more],
    );
  const enrol = async (name: string): Promise<RunningCommand> => {
    writeFileSync(at(`code-${name}`), await run('invite', ...inState(), '--organisation', name));
    return client(name, '--invite-file', at(`code-${name}`));
  };
  const reported = async <Document>(...argv: readonly string[]): Promise<Document> =>
    JSON.parse(await run(...argv, '--json')) as Document;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-withdrawal-'));
    base = await writeTinyBase(at('base'));
    const plan = {
      format: 'tributary-plan-1',
      name: 'Leaving',
      base: { digest: (await describeBase(base)).digest },
      task: { labels: ['a', 'b'], pooling: 'last', lengthMax: 12 },
      adapter: { method: 'bottleneck', size: 4 },
      training: { localSteps: 2, batchSize: 8, learningRate: 0.01 },
      rounds: { count: roundCount, quorum: 2, cohortSize: 2, recruitSeconds: 600, trainSeconds: 600 },
      aggregation: { weighting: 'equal' },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'off' },
      audit: { retainUpdates: true },
    };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    writeFileSync(at('policy.json'), JSON.stringify({ cohortMin: 1, quorumMin: 1, discloseMetrics: true }));
    for (const [site, name] of ['one', 'two', 'three'].entries()) {
      const rows = Array.from({ length: 24 }, (_, index) => ({
        text: `x${'pq'[index % 2]}${site}`,
        label: 'ab'[index % 2],
      }));
      writeFileSync(at(`${name}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    }
  });
  after(() => {
    processes.close();
    rmSync(folder, { recursive: true });
  });

  it('[WDE-5] a site leaves and hears where its updates are, the operator goes back before it, two others train on, and the log holds all of it', async () => {
    let running = coordinator('0');
    const [, url] = await running.line(/coordinator of "Leaving" at (http:\S+),/);
    const { port } = new URL(url!);
    const early = [await enrol('one'), await enrol('two')];
    await running.line(/published as version 1/);
    await kill(running);
    for (const one of early) await kill(one);

    running = coordinator(port);
    await running.line(/coordinator of "Leaving"/);
    const late = [client('two'), await enrol('three')];
    const before = await reported<{ versions: readonly object[] }>('adapters', 'list', ...inState());
    await running.line(new RegExp(`published as version ${before.versions.length}\\b`));
    for (const one of late) await kill(one);
    type Left = {
      readonly clientId: string;
      readonly direct: number[];
      readonly all: number[];
      readonly latest: number;
      readonly erased: number[];
    };
    const left = await reported<Left>('client', 'withdraw', '--state', at('three'));
    const first = left.direct[0]!;
    assert.ok(first >= 2 && left.latest >= first, JSON.stringify(left));
    assert.equal(left.erased.length, left.direct.length);
    assert.deepEqual(
      left.all,
      [...left.all.keys()].map((index) => first + index),
    );
    assert.equal(left.all.at(-1), left.latest, 'every later version builds on it');
    const refused = await start('adapters', 'rollback', ...inState(), '--before-client', left.clientId).ended;
    assert.match(refused.errors, /another coordinator runs on/);
    await kill(running);

    // By the number of the version or by the client: the same version, and both logs hold.
    cpSync(at('state'), at('copy'), { recursive: true });
    const target = String(first - 1);
    const byVersion = await reported('adapters', 'rollback', '--state', at('copy'), '--to-version', target);
    assert.match(await run('audit', 'verify', '--state', at('copy')), /everything holds/);
    type Back = { readonly version: number; readonly rolledBackTo: number; readonly withdrawn: readonly number[] };
    const back = await reported<Back>('adapters', 'rollback', ...inState(), '--before-client', left.clientId);
    assert.deepEqual(back, byVersion);
    assert.equal(back.rolledBackTo, first - 1);
    assert.deepEqual(back.withdrawn, left.all);

    running = coordinator(port);
    await running.line(/going on after version/);
    const staying = [client('one'), client('two')];
    const shutOut = await client('three').ended;
    assert.notEqual(shutOut.code, 0);
    assert.match(shutOut.errors, /revoked/);
    const over = await running.ended;
    assert.equal(over.code, 0, over.errors + over.output);
    for (const { ended } of staying) assert.equal((await ended).code, 0);

    type Listed = { readonly versions: readonly { readonly version: number; readonly roundIndex: number | null }[] };
    const { versions } = await reported<Listed>('adapters', 'list', ...inState());
    assert.equal(
      versions.length,
      back.version + 1 + roundCount - back.rolledBackTo,
      'what was taken back is made again',
    );
    for (const { version } of versions) {
      const shown = await run('adapters', 'show', ...inState(), '--version', String(version), '--json');
      assert.equal(shown.includes(left.clientId), left.direct.includes(version), `version ${version}`);
    }
    const verified = await run('audit', 'verify', ...inState(), '--round', 'all');
    assert.match(verified, /everything holds/);
    assert.equal(verified.match(/made again of 2 updates/g)?.length, versions.length - 2 - left.direct.length);
    assert.equal(verified.match(/its updates were deleted when a site withdrew/g)?.length, left.direct.length);
    await run('audit', 'export', ...inState(), '--out', at('log.jsonl'));
    assert.match(await run('audit', 'verify', '--log', at('log.jsonl')), /everything holds/);
    // An entry is canonical bytes in hex, its type and subject in them as text.
    const entries = readFileSync(at('log.jsonl'), 'utf8')
      .split('\n')
      .flatMap((line) => /"entry":"([0-9a-f]+)"/.exec(line)?.[1] ?? [])
      .map((hex) => Buffer.from(hex, 'hex').toString('latin1'));
    const steps = entries.flatMap((entry) => /client-withdrew|version-withdrawn/.exec(entry)?.[0] ?? []);
    assert.deepEqual(steps, ['client-withdrew', 'version-withdrawn']);
  });
});
