/** A site withdraws from a federation over sockets, and its operator takes the versions with its updates back: both by their commands, in this process. */
import { strict as assert } from 'node:assert';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { register as registerClient } from '../../client/commands.ts';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { entryOf } from '../../coordinator/audit/log-store.ts';
import { register as registerAdapters } from '../../coordinator/commands/adapters.ts';
import { register as registerAudit } from '../../coordinator/commands/audit.ts';
import { openExistingState } from '../../coordinator/store/state.ts';
import { runCommandLine } from '../../shared/command-line/program.ts';
import { float32Of, toHex } from '../../shared/core/bytes.ts';
import { createIdentity, identityFromSeed } from '../../shared/crypto/identity.ts';
import { untilAborted } from '../client/running-client.ts';
import { rotationOf } from '../helpers/rotation.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { fakeTerminal } from '../shared/command-line/fake-terminal.ts';
import { dim, federationPlan, onlyValue, openWorld, startClients, type World } from './world.ts';

const plan = {
  ...federationPlan({ count: 3, cohortSize: 2, quorum: 2 }, { everyRounds: 0 }),
  audit: { retainUpdates: true },
};
const filled = (value: number) => new Float32Array(dim).fill(value);

async function run(...argv: readonly string[]) {
  const terminal = fakeTerminal();
  const groups = [
    { commands: { client: 'client', personalise: 'personalise' }, load: async () => ({ register: registerClient }) },
    { commands: { adapters: 'adapters' }, load: async () => ({ register: registerAdapters }) },
    { commands: { audit: 'audit' }, load: async () => ({ register: registerAudit }) },
  ];
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv, version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

async function reported<Document>(...argv: readonly string[]): Promise<Document> {
  const { code, output, errors } = await run(...argv, '--json');
  assert.equal(code, 0, errors);
  return JSON.parse(output) as Document;
}

describe('withdrawal over sockets', () => {
  let world: World;
  const at = (name: string): string => join(world.folder, name);
  const rollback = (state: string, ...argv: readonly string[]) =>
    run('adapters', 'rollback', '--state', at(state), ...argv);
  before(async () => {
    world = await openWorld();
  });
  after(() => world.close());

  const logRows = async () => {
    const state = await openExistingState(at('coordinator'));
    try {
      return await state.store.log.rows(0);
    } finally {
      await state.close();
    }
  };

  let port = 0;
  let leaving = '';

  it('[WDE-1] three sites, of which one leaves: it hears which versions hold its updates while the coordinator goes on', async () => {
    const delta = () => filled(1);
    const first = await world.startCoordinator(plan);
    port = Number(new URL(first.coordinator.url).port);
    const pair = await startClients(world, first, [
      { delta: (round, _, signal) => (round === 0 ? filled(1) : untilAborted(round, filled(0), signal)) },
      { delta },
    ]);
    await first.events.wait('published', ({ version }) => version === 1);
    await first.coordinator.close();
    for (const { stop, ended } of pair) {
      stop();
      await ended;
    }
    const running = await world.startCoordinator(plan, { port });
    const two = await world.startClient('site-2', { delta });
    let calls = 0;
    const three = await world.startClient(
      'site-3',
      { delta: (round, _, signal) => (calls++ === 0 ? filled(5) : untilAborted(round, filled(0), signal)) },
      { invite: await running.coordinator.invite({ organisation: 'site-3' }) },
    );
    await running.events.wait('published', ({ version }) => version === 2);
    three.stop();
    await three.ended;

    const left = await reported<Record<string, unknown>>('client', 'withdraw', '--state', at('site-3'));
    leaving = String(left.clientId);
    assert.deepEqual([left.direct, left.all, left.latest], [[2], [2], 2]);
    const { roundIndex } = (await running.coordinator.versions())[2]!;
    assert.deepEqual(left.erased, [roundIndex]);
    const { output } = await run('client', 'withdraw', '--state', at('site-3'));
    assert.match(output, new RegExp(`deleted the retained updates of rounds ${roundIndex}, its own among them\n`));
    const kept = JSON.parse(
      readFileSync(join(at('site-3'), 'evidence', `${running.coordinator.federationId}-withdrawal.json`), 'utf8'),
    ) as Record<string, unknown>;
    assert.deepEqual([kept.clientId, kept.direct], [leaving, [2]]);
    assert.match((await rollback('coordinator', '--before-client', leaving)).errors, /another coordinator runs on/);
    await running.coordinator.close();
    two.stop();
    await two.ended;
  });

  it('[WDE-2] `adapters rollback --before-client` makes the last version without the client the latest, as `--to-version` does', async () => {
    for (const copy of ['by-version', 'by-beginning', 'by-key'])
      cpSync(at('coordinator'), at(copy), { recursive: true });
    const made = await reported<object>(
      ...['adapters', 'rollback', '--state', at('coordinator'), '--before-client', leaving],
    );
    const expected = { version: 3, rolledBackTo: 1, withdrawn: [2] };
    assert.deepEqual({ ...made, ...expected }, made);
    for (const [copy, ...how] of [
      ['by-version', '--to-version', '1'],
      ['by-beginning', '--before-client', leaving.slice(0, 8).toUpperCase()],
    ] as const) {
      const same = await reported<object>('adapters', 'rollback', '--state', at(copy), ...how);
      assert.deepEqual(same, made, copy);
    }
    // By the key that took the place of the one that contributed.
    const old = identityFromSeed(await (await nodePlatform(at('site-3'))).identitySeed());
    const next = createIdentity(seededEntropy(9));
    const state = await openExistingState(at('by-key'));
    await state.store.documents.put(`rotation/${next.clientId}`, toHex(rotationOf(old, next)));
    await state.close();
    const same = await reported<object>(
      ...['adapters', 'rollback', '--state', at('by-key'), '--before-client', next.clientId],
    );
    assert.deepEqual(same, made);
    const latest = await reported<object>('adapters', 'show', '--state', at('coordinator'));
    assert.ok(!JSON.stringify(latest).includes(leaving));
  });

  it('[WDE-3] it refuses what names no client, one without an update, or nothing that would change', async () => {
    for (const [argv, expected] of [
      [['--before-client', 'ab'.repeat(32)], /no version holds an update of client abab/],
      [['--before-client', leaving.slice(0, 7)], /one client begins with .*give at least 8 digits/],
      [['--before-client', leaving, '--to-version', '1'], /name either --before-client or --to-version/],
      [[], /name either --before-client or --to-version/],
      [['--to-version', '3'], /version 3 is the latest already/],
      [['--to-version', '9'], /there is no version 9/],
    ] as const) {
      const ended = await rollback('coordinator', ...argv);
      assert.equal(ended.code, 2, `${argv.join(' ')}: ${ended.output}`);
      assert.match(ended.errors, expected);
    }
  });

  it('[WDE-4] training goes on without it and rebuilds what was taken back; the log records each step and holds', async () => {
    const running = await world.startCoordinator(plan, { port });
    const delta = () => filled(1);
    const staying = [await world.startClient('site-1', { delta }), await world.startClient('site-2', { delta })];
    const refused = await world.startClient('site-3', { delta });
    const end = await refused.ended;
    assert.equal(end.kind, 'refused');
    assert.match(JSON.stringify(end), /revoked-client/);
    assert.equal((await running.coordinator.ended).status, 'completed');
    for (const { ended } of staying) assert.equal((await ended).kind, 'completed');
    const library = await running.coordinator.library();
    const values = [];
    for (const { row } of library) values.push(onlyValue(float32Of(await running.coordinator.adapter(row))));
    assert.deepEqual(values, [0, 1, 4, 1, 2, 3]);
    assert.deepEqual(
      library.map(({ record }) => record.contributors.includes(leaving as never)),
      [false, false, true, false, false, false],
    );
    await running.coordinator.close();

    const { output, code, errors } = await run('audit', 'verify', '--state', at('coordinator'));
    assert.equal(code, 0, errors);
    assert.match(output, /6 versions[\s\S]*everything holds/);
    const replayed = await run('audit', 'verify', '--state', at('coordinator'), '--round', 'all');
    assert.equal(replayed.code, 0, replayed.errors);
    assert.equal(replayed.output.match(/: version \d made again of 2 updates/g)?.length, 3);
    const gone = new RegExp(
      `round ${library[2]!.row.roundIndex} cannot be made again: its updates were deleted when a site withdrew \\(${leaving.slice(0, 8)}\\)`,
    );
    assert.match(replayed.output, gone);
    const asked = ['--round', String(library[2]!.row.roundIndex)];
    const one = await run('audit', 'verify', '--state', at('coordinator'), ...asked);
    assert.equal(one.code, 2);
    assert.match(one.errors, gone);
    const steps = (await logRows())
      .map(entryOf)
      .filter(({ type }) => ['client-withdrew', 'version-withdrawn', 'round-published'].includes(type));
    assert.deepEqual(
      steps.map(({ type }) => type),
      [
        ...['round-published', 'round-published', 'round-published', 'client-withdrew'],
        ...['version-withdrawn', 'round-published', 'round-published'],
      ],
    );
    assert.equal(steps[3]!.subject, leaving);
    assert.equal(steps[4]!.subject, '3');
  });
});
