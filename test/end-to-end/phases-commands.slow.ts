/** A federation of phases by the commands that people use, in processes of their own: killed in a later phase and between two, looked at, exported, taken back. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBase } from '../../shared/model/load.node.ts';
import { writeTinyBase } from '../helpers/tiny-base.ts';
import { commandProcesses, movingDeadline, type RunningCommand } from './command-processes.ts';

const sites = [0, 1, 2];

describe('phases by commands', function () {
  let folder = '';
  let base = '';
  const processes = commandProcesses(movingDeadline(this));
  const { start, run, kill } = processes;
  const at = (name: string): string => join(folder, name);

  const coordinator = (port: string, plan = 'plan.json', state = 'state') =>
    start('coordinator', '--plan', at(plan), '--base', base, '--state', at(state), '--port', port);
  const client = (site: number, ...more: readonly string[]) =>
    start(
      ...['client', '--state', at(`site-${site}`), '--train', at(`rows-${site}.jsonl`), '--part-column', 'task'],
      ...['--policy', at('policy.json'), '--backend', 'cpu', ...more],
    );

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-phase-commands-'));
    base = await writeTinyBase(at('base'));
    const { digest } = await describeBase(base);
    const adapter = { method: 'bottleneck', size: 4 };
    const members = ['topic', 'tone'].map((id) => ({ id, phase: id }));
    const taskOf = (part: string, labels: readonly string[]) => ({
      labels,
      pooling: 'last',
      lengthMax: 12,
      part,
      head: { bias: false },
    });
    const plan = {
      format: 'tributary-plan-1',
      name: 'Phases',
      base: { digest },
      training: { localSteps: 2, batchSize: 8, learningRate: 0.01 },
      rounds: { count: 2, quorum: 3, cohortSize: 3, recruitSeconds: 600, trainSeconds: 600 },
      aggregation: { weighting: 'equal' },
      evaluation: { everyRounds: 0 },
      secureAggregation: { mode: 'off' },
      audit: { retainUpdates: true },
      privacy: { unit: 'client', mechanism: 'central', clipNorm: 1, epsilon: 100 },
      phases: [
        { name: 'topic', task: taskOf('topic', ['a', 'b']), adapter },
        { name: 'tone', task: taskOf('tone', ['calm', 'upset']), adapter, privacy: { clipNorm: 0.5 } },
        { name: 'both', task: taskOf('topic', ['a', 'b']), adapter: { method: 'fuse', members } },
      ],
    };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    writeFileSync(at('policy.json'), JSON.stringify({ discloseMetrics: true }));
    for (const site of sites) {
      const rows = Array.from({ length: 32 }, (_, index) =>
        index % 2 === 0
          ? { text: `x${'pq'[(index / 2) % 2]}${site}`, label: 'ab'[(index / 2) % 2], task: 'topic' }
          : { text: `y${index}`, label: index % 4 === 1 ? 'calm' : 'upset', task: 'tone' },
      );
      writeFileSync(at(`rows-${site}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    }
  });
  after(async () => {
    processes.close();
    rmSync(folder, { recursive: true });
  });

  it('[PHC-1] killed in a later phase and between two it goes on; everything about its versions can be looked at', async () => {
    const checked = await run('plan', 'check', at('plan.json'), '--base', base);
    assert.match(checked, /topic: adds epsilon [\s\S]*both: adds epsilon [\s\S]*in all epsilon [\d.]+ of 100/);

    const statement =
      /all that one client has: epsilon [\d.]+ of 100 at delta 0\.00001, central noise of [\d.]+ times the clip norm [\d.]+, against everybody who sees versions; trusts the coordinator/;
    let running = coordinator('0');
    const [, url] = await running.line(/coordinator of "Phases" at (http:\S+),/);
    const { port } = new URL(url!);
    const clients = [];
    for (const site of sites) {
      writeFileSync(at(`code-${site}`), await run('invite', '--state', at('state'), '--organisation', `site ${site}`));
      clients.push(client(site, '--invite-file', at(`code-${site}`)));
    }
    await running.line(/phase 2 of 3, tone, begins with version 3[\s\S]*round \d+ published as version 4/);
    await kill(running);
    running = coordinator(port);
    // Where the first went on before the signal reached it, a later version is the next.
    await Promise.race([running.line(/published as version [5-8]/), running.ended]);
    await kill(running);
    running = coordinator(port);
    const over = await running.ended;
    assert.equal(over.code, 0, over.errors + over.output);
    for (const { ended } of clients) {
      const { code, errors } = await ended;
      assert.equal(code, 0, errors);
      // Unit, cost and against whom it holds stand in every client's log.
      assert.match(errors, statement);
    }

    const { versions } = JSON.parse(await run('adapters', 'list', '--state', at('state'), '--json')) as {
      versions: { phase: string; roundIndex: number | null }[];
    };
    assert.deepEqual(
      versions.map(({ phase }) => phase),
      ['topic', 'topic', 'topic', 'tone', 'tone', 'tone', 'both', 'both', 'both'],
    );
    const shown = await run('adapters', 'show', '--state', at('state'), '--version', '6');
    assert.match(shown, /phase +both[\s\S]*contributors +0 of 0[\s\S]*privacy.*epsilon/);
    assert.match(shown, statement);

    // Every version of a round is made again from what was kept, with the noise of its phase.
    assert.match(await run('audit', 'verify', '--state', at('state')), /everything holds/);
    for (const version of [5, 8]) {
      const round = String(versions[version]!.roundIndex);
      const replayed = await run('audit', 'verify', '--state', at('state'), '--round', round, '--base', base);
      assert.match(replayed, new RegExp(`version ${version} made again of 3 updates[\\s\\S]*everything holds`));
    }
    const spent = JSON.parse(await run('privacy', '--state', at('state'), '--json')) as {
      phases: { phase: string; added: number }[];
      total: { epsilon: number; budget: number };
    };
    assert.deepEqual(
      spent.phases.map(({ phase }) => phase),
      ['topic', 'tone', 'both'],
    );
    const sum = spent.phases.reduce((whole, { added }) => whole + added, 0);
    assert.ok(Math.abs(sum - spent.total.epsilon) < 1e-6 && sum <= spent.total.budget);

    // What a phase trained leaves in its own task and format; PEFT has none for fusion.
    const exported = ['adapters', 'export', '--state', at('state'), '--out'] as const;
    await run(...exported, at('tone'), '--version', '5', '--format', 'adapterhub');
    await run(...exported, at('both'));
    assert.match(await run('adapters', 'show', at('both')), /adapter +fuse/);
    const peft = await start(...exported, at('peft'), '--format', 'peft').ended;
    assert.equal(peft.code, 2);
    assert.match(peft.errors, /fuse/);
  });

  it('[PHC-2] an earlier phase is taken back to: the version says so with the privacy of its target, and the log holds', async () => {
    const back = await run('adapters', 'rollback', '--state', at('state'), '--to-version', '4');
    assert.match(back, /version 9 is version 4 again; taken back: 5, 6, 7, 8/);
    const rolled = await run('adapters', 'show', '--state', at('state'));
    assert.match(rolled, /phase +tone[\s\S]*privacy.*epsilon/);
    assert.match(await run('audit', 'verify', '--state', at('state')), /everything holds/);
  });

  it('[PHC-3] a site withdraws in the second phase: it hears of the versions of both, the first without it is taken back to, and others train both again', async () => {
    const {
      privacy: _,
      audit: __,
      phases,
      ...rest
    } = JSON.parse(readFileSync(at('plan.json'), 'utf8')) as {
      readonly privacy: object;
      readonly audit: object;
      readonly phases: readonly { readonly name: string; readonly privacy?: object }[];
    };
    const both = phases.slice(0, 2).map(({ privacy: ___, ...phase }, index) => {
      return { ...phase, rounds: { count: 1 + index, quorum: 3, cohortSize: 3, recruitSeconds: 60, trainSeconds: 60 } };
    });
    writeFileSync(at('two.json'), JSON.stringify({ ...rest, phases: both }));
    const inState = ['--state', at('leaving')] as const;
    const join = async (name: string, site: number): Promise<RunningCommand> => {
      writeFileSync(at(`code-${name}`), await run('invite', ...inState, '--organisation', name));
      return member(name, site, '--invite-file', at(`code-${name}`));
    };
    const member = (name: string, site: number, ...more: readonly string[]) =>
      start(
        ...['client', '--state', at(name), '--train', at(`rows-${site}.jsonl`), '--part-column', 'task'],
        ...['--policy', at('policy.json'), '--backend', 'cpu', ...more],
      );

    let running = coordinator('0', 'two.json', 'leaving');
    const [, url] = await running.line(/coordinator of "Phases" at (http:\S+),/);
    const { port } = new URL(url!);
    const joined = [await join('one', 0), await join('two', 1), await join('three', 2)];
    await running.line(/published as version 3/);
    await kill(running);
    for (const one of joined) await kill(one);

    // Nobody but the site that leaves speaks to the coordinator, which is in the second phase.
    running = coordinator(port, 'two.json', 'leaving');
    await running.line(/coordinator of "Phases"/);
    const left = JSON.parse(await run('client', 'withdraw', '--state', at('three'), '--json')) as {
      readonly clientId: string;
      readonly direct: readonly number[];
      readonly all: readonly number[];
      readonly phases: readonly string[];
    };
    assert.deepEqual(left.direct.slice(0, 2), [1, 3]);
    assert.deepEqual(left.all, left.direct, 'the second phase builds on nothing of the first');
    assert.deepEqual(left.phases, ['topic', 'tone']);
    await kill(running);

    const back = await run('adapters', 'rollback', ...inState, '--before-client', left.clientId);
    assert.match(back, /is version 0 again; taken back: 1, 2, 3/);
    running = coordinator(port, 'two.json', 'leaving');
    await running.line(/coordinator of "Phases"/);
    const staying = [member('one', 0), member('two', 1), await join('four', 2)];
    const over = await running.ended;
    assert.equal(over.code, 0, over.errors + over.output);
    for (const { ended } of staying) assert.equal((await ended).code, 0);
    const { versions } = JSON.parse(await run('adapters', 'list', ...inState, '--json')) as {
      readonly versions: readonly { readonly phase: string }[];
    };
    assert.deepEqual(
      versions.slice(-5).map(({ phase }) => phase),
      ['topic', 'topic', 'tone', 'tone', 'tone'],
    );
    const contributorsOf = (version: number) =>
      run('adapters', 'show', ...inState, '--version', String(version), '--json');
    assert.ok((await contributorsOf(1)).includes(left.clientId));
    for (const version of [-3, -1])
      assert.ok(!(await contributorsOf(versions.length + version)).includes(left.clientId));
    assert.match(await run('audit', 'verify', ...inState), /everything holds/);
  });
});
