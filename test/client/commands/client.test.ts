import { strict as assert } from 'node:assert';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { register } from '../../../client/commands.ts';
import { createAuditLog } from '../../../coordinator/audit/audit-log.ts';
import type { Coordinator, CoordinatorOptions } from '../../../coordinator/coordinator.ts';
import { startCoordinator } from '../../../coordinator/coordinator.ts';
import { createRegistry } from '../../../coordinator/enrolment/registry.ts';
import { prepareFederation } from '../../../coordinator/prepare.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { systemClock } from '../../../shared/core/system-clock.ts';
import { createIdentity } from '../../../shared/crypto/identity.ts';
import { consortiumFingerprint, encodeConsortium } from '../../../shared/identity/consortium.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { seededEntropy, until } from '../../coordinator/harness.ts';
import { writeTinyBase } from '../../helpers/tiny-base.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

/** Runs `client` in this process, as the root of the command line does. */
async function run(argv: readonly string[], signal = new AbortController().signal) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { client: 'take part', personalise: 'own parts' }, load: async () => ({ register }) }];
  const code = await runCommandLine({ groups, argv: ['client', ...argv], version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('tributary client', () => {
  let folder = '';
  let coordinator: Coordinator | null = null;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tributary-client-command-'));
  });
  afterEach(async () => {
    await coordinator?.close();
    coordinator = null;
    await rm(folder, { recursive: true, force: true });
  });
  const path = (name: string): string => join(folder, name);
  const start = async (rounds: object, options: Partial<CoordinatorOptions> = {}): Promise<Coordinator> => {
    const base = await writeTinyBase(path('base'));
    const plan = parsePlan(
      {
        format: 'tributary-plan-1',
        name: 'commands',
        base: { digest: (await describeBase(base)).digest },
        task: { labels: ['no', 'yes'], pooling: 'last', lengthMax: 16 },
        adapter: { method: 'none' },
        training: { localSteps: 2, batchSize: 4 },
        rounds,
      },
      'the test',
    );
    const prepared = await prepareFederation(plan, base, 'the plan');
    coordinator = await startCoordinator({ ...prepared, stateFolder: null, ...options });
    return coordinator;
  };
  /** Arguments of a site with ten rows and a policy that two sites are enough for. */
  const site = async (name: string): Promise<string[]> => {
    const rows = Array.from({ length: 10 }, (_, index) => `${name} message ${index},${index % 2 === 0 ? 'yes' : 'no'}`);
    await writeFile(path(`${name}.csv`), ['message,answer', ...rows].join('\n'));
    await writeFile(path('policy.json'), JSON.stringify({ cohortMin: 1, quorumMin: 1, discloseMetrics: true }));
    const columns = ['--text-column', 'message', '--label-column', 'answer'];
    const state = ['--state', path(name), '--policy', path('policy.json'), '--backend', 'cpu'];
    return ['--train', path(`${name}.csv`), '--name', name, ...columns, ...state];
  };

  it('[CLI-110] a back end that does not work ends it before its invite is used', async () => {
    const running = await start({ count: 1, cohortSize: 1, quorum: 1 });
    const invite = await running.invite({ organisation: 'site' });
    const { code, errors } = await run([...(await site('site')), '--invite', invite, '--backend', 'node-gpu']);
    // A machine that has that back end passes here too.
    if (code === 0) return;
    assert.equal(code, 1);
    assert.match(errors, /the back end node-gpu does not work here: .*; choose another with --backend, or auto/);
    assert.equal((await run([...(await site('site')), '--invite', invite])).code, 0, 'the invite is good');
  });

  it('[CLI-100] takes part to the end and prints one document, or a summary for people', async () => {
    const running = await start({ count: 2, cohortSize: 2, quorum: 2 });
    await writeFile(path('code'), `${await running.invite({ organisation: 'left' })}\n`);
    const [left, right] = await Promise.all([
      run([...(await site('left')), '--invite-file', path('code'), '--held-out-fraction', '0.3', '--json']),
      run([...(await site('right')), '--invite', await running.invite({ organisation: 'right' }), '--verbose']),
    ]);
    assert.deepEqual([left.code, right.code], [0, 0], left.errors + right.errors);
    const document = JSON.parse(left.output);
    assert.equal(document.end.kind, 'completed');
    assert.match(document.fingerprint, /^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
    assert.equal(document.consortium, null);
    assert.match(
      left.errors,
      /the coordinator vouches for the keys of clients itself: .* honest-but-curious coordinator/,
    );
    assert.equal(document.federationId, coordinator!.federationId);
    const versions = (await coordinator!.versions()).slice(1);
    assert.deepEqual(
      document.rounds.map((round: { published: object }) => round.published),
      versions.map(({ modelHash }) => ({ modelHash, contributorCount: 2 })),
    );
    assert.ok(document.bytes.up > 0 && document.bytes.down > 0);
    assert.deepEqual(document.declined, []);
    assert.match(left.errors, /\d rows to train on, \d held out/);
    assert.match(right.output, /^completed: 2 of 2 rounds published[\s\S]*contributed to 2 rounds\n.* up, .* down in /);
    for (const line of ['computing with cpu', 'enrolled with http', 'round 1: offered', 'round 1: published'])
      assert.ok(right.errors.includes(line), line);
  });

  it('[CLI-101] takes the code from the environment, and the default policy declines with its reason', async () => {
    const running = await start({ count: 1, cohortSize: 1, quorum: 1, voidsMax: 1 });
    const argv = (await site('site')).filter((_, index, all) => !all.slice(index - 1, index + 1).includes('--policy'));
    process.env.TRIBUTARY_INVITE = await running.invite({ organisation: 'site' });
    const ended = await run([...argv, '--json']).finally(() => delete process.env.TRIBUTARY_INVITE);
    assert.equal(ended.code, 1);
    const document = JSON.parse(ended.output);
    assert.equal(document.end.kind, 'federation-stopped');
    assert.equal(document.declined[0].code, 'policy-refused');
    assert.match(document.declined[0].detail, /cohort-too-small/);
    assert.match(ended.errors, /round 0: declined \(policy-refused\)/);
  });

  it('[CLI-102] ends orderly with a report when it is interrupted', async () => {
    const running = await start({ count: 1, quorum: 2 });
    const controller = new AbortController();
    const code = await running.invite({ organisation: 'site' });
    const ending = run([...(await site('site')), '--invite', code, '--json'], controller.signal);
    await until(() => running.traffic().bytesDown > 0, 'the welcome');
    controller.abort();
    const ended = await ending;
    assert.equal(ended.code, 0);
    assert.equal(JSON.parse(ended.output).end.kind, 'stopped');
  });

  it('[CLI-111] prints the fingerprint of the consortium that its code pins, for its administrator to compare, and no word of a coordinator that vouches', async () => {
    const certifying = { name: 'Hospitals', threshold: 1, keys: [createIdentity(seededEntropy(1)).publicKey] };
    const state = memoryState(seededEntropy(2));
    const enrolled = Promise.withResolvers<void>();
    const running = await start(
      { count: 1, quorum: 2 },
      { state, onEvent: ({ type }) => (type === 'enrolled' ? enrolled.resolve() : undefined) },
    );
    const log = createAuditLog({ store: state.store.log, identity: state.identity, clock: systemClock });
    const ports = { store: state.store, log, clock: systemClock, entropy: seededEntropy(3) };
    await createRegistry(ports).take({ kind: 'consortium', bytes: encodeConsortium(certifying) });
    const controller = new AbortController();
    const code = await running.invite({ organisation: 'site' });
    const ending = run([...(await site('site')), '--invite', code, '--json'], controller.signal);
    await enrolled.promise;
    controller.abort();
    const { output, errors } = await ending;
    const expected = consortiumFingerprint(certifying);
    assert.ok(errors.includes(`certified by the consortium with fingerprint ${expected}: compare it`), errors);
    assert.doesNotMatch(errors, /vouches for the keys/);
    const document = JSON.parse(output);
    assert.equal(document.consortium, expected);
    assert.notEqual(document.fingerprint, expected);
  });

  it('[CLI-103] wrong use exits with 2 and says what is wrong', async () => {
    const argv = await site('site');
    const cases: [string[], RegExp][] = [
      [argv, /not enrolled/],
      [[...argv, '--invite', 'nonsense'], /enrolment code is not usable/],
      [[...argv, '--invite-file', path('nowhere')], /cannot read the enrolment code/],
      [[...argv, '--held-out', path('site.csv'), '--held-out-fraction', '0.5'], /found both/],
      [[...argv, '--held-out-fraction', '1'], /Expected a number/],
      [[...argv, '--text-column', 'body'], /the column "body" is missing/],
      [[...argv, '--name', ''], /a name has 1 to 200 characters/],
    ];
    for (const [given, expected] of cases) {
      const ended = await run(given);
      assert.equal(ended.code, 2, ended.errors);
      assert.match(ended.errors, expected);
      assert.equal(ended.output, '');
    }
  });
});
