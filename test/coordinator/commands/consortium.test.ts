/** The commands of a consortium, of an operator who takes its documents in, and of an auditor, with files as people have them. */
import { strict as assert } from 'node:assert';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register as registerAdapters } from '../../../coordinator/commands/adapters.ts';
import { register as registerAudit } from '../../../coordinator/commands/audit.ts';
import { register } from '../../../coordinator/commands.ts';
import { openState } from '../../../coordinator/store/state.ts';
import { register as registerConsortium } from '../../../shared/command-line/consortium.node.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { fingerprint } from '../../../shared/crypto/identity.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, seededEntropy, startWorld, testPlan } from '../harness.ts';

const groups = [
  { commands: { coordinator: 'coordinator', invite: 'invite' }, load: async () => ({ register }) },
  { commands: { adapters: 'adapters' }, load: async () => ({ register: registerAdapters }) },
  { commands: { audit: 'audit' }, load: async () => ({ register: registerAudit }) },
  { commands: { consortium: 'consortium' }, load: async () => ({ register: registerConsortium }) },
];

async function run(
  ...argv: string[]
): Promise<{ readonly code: number; readonly value: never; readonly errors: string }> {
  const terminal = fakeTerminal();
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv: [...argv, '--json'], version: '0', terminal, signal });
  return { code, value: JSON.parse(terminal.output.join('') || 'null') as never, errors: terminal.errors.join('') };
}

describe('commands of a consortium', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-consortium-'));
  const at = (name: string): string => join(folder, name);
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(closeWorlds);
  const signing = (index: number) => ['--consortium', at('consortium.json'), '--key', at(`key-${index}.key`)];
  const done = async (...argv: string[]) => {
    const ended = await run(...argv);
    assert.equal(ended.code, 0, ended.errors);
    return ended.value as Record<string, unknown>;
  };

  it('[CNC-1] makes keys, signs a site by its fingerprint with two of three keys, and the operator takes it in', async () => {
    const made = await done('consortium', 'create', '--name', 'H', '--keys', '3', '--threshold', '2', '--out', folder);
    assert.match(String(made.fingerprint), /^[A-Z2-7-]{39}$/);
    assert.equal(statSync(at('key-1.key')).mode & 0o777, 0o600);
    const state = await openState(at('state'), seededEntropy(1));
    const plan = testPlan({ rounds: { count: 1 }, evaluation: { everyRounds: 0 }, audit: { retainUpdates: true } });
    const world = await startWorld({ plan, state });
    const empty = await done('consortium', 'revoke', ...signing(1), '--out', at('list.json'));
    assert.equal(empty.signatures, '1 of 2 that are needed');
    await done('consortium', 'sign', at('list.json'), ...signing(2), '--out', at('list.json'));
    await done('invite', 'take', at('consortium.json'), at('list.json'), '--state', at('state'));
    const invited = await run('invite', '--organisation', 'H', '--state', at('state'), '--url', 'http://localhost:1');
    assert.equal((invited.value as { approval: string }).approval, 'manual', 'what the code says');
    assert.match(invited.errors, new RegExp(`pins the consortium with fingerprint ${String(made.fingerprint)}`));
    for (const seed of [5, 6]) {
      const pending = joinClient(world, seed);
      await assert.rejects(pending, /pending-client.*an administrator of the consortium has to/);
    }
    const listed = async () =>
      (await done('invite', 'list', '--state', at('state'))).clients as { certificate: string; fingerprint: string }[];
    assert.deepEqual(
      (await listed()).map(({ certificate }) => certificate),
      ['not signed yet', 'not signed yet'],
    );
    const approved = await run('invite', 'approve', (await listed())[0]!.fingerprint, '--state', at('state'));
    assert.deepEqual([approved.code, /a consortium says who is a member/.test(approved.errors)], [2, true]);
    assert.equal((await run('invite', 'requests', '--out', at('nowhere'), '--state', at('state'))).code, 2);
    mkdirSync(at('requests'));
    await done('invite', 'requests', '--out', at('requests'), '--state', at('state'));
    const files = readdirSync(at('requests'));
    assert.equal(files.length, 2);
    const prints = (await state.store.clients()).map(({ publicKey }) =>
      fingerprint(Uint8Array.from(Buffer.from(publicKey, 'hex'))),
    );
    for (const file of files) {
      const request = join(at('requests'), file);
      const out = at(`cert-${file}`);
      const about = JSON.parse(readFileSync(request, 'utf8')).about as { fingerprint: string };
      const wrong = prints.find((print) => print !== about.fingerprint)!;
      const refused = await run('consortium', 'sign', request, ...signing(1), '--fingerprint', wrong, '--out', out);
      assert.equal(refused.code, 2);
      await done('consortium', 'sign', request, ...signing(1), '--fingerprint', about.fingerprint, '--out', out);
      assert.equal((await run('invite', 'take', out, '--state', at('state'))).code, 2);
      const signed = await done('consortium', 'sign', out, ...signing(3), '--out', out);
      assert.equal(signed.verdict, 'good');
      assert.equal((await done('consortium', 'show', out, '--consortium', at('consortium.json'))).verdict, 'good');
      await done('invite', 'take', out, '--state', at('state'));
    }
    const statuses = (await state.store.clients()).map(({ status }) => status);
    assert.deepEqual(statuses, ['approved', 'approved']);
    const [gone] = files.map((file) => at(`cert-${file}`));
    const revoke = [
      'consortium',
      'revoke',
      gone!,
      '--list',
      at('list.json'),
      ...signing(1),
      '--out',
      at('list-2.json'),
    ];
    await done(...revoke);
    await done('consortium', 'sign', at('list-2.json'), ...signing(2), '--out', at('list-2.json'));
    const half = await run('invite', 'take', at('list-2.json'), at('list.json'), '--state', at('state'));
    assert.match(half.errors, /list\.json: .* is not newer than list 2; taken before it: list 2 of revocations with 1/);
    assert.deepEqual((await listed()).map(({ certificate }) => certificate).sort(), ['good', 'it was revoked']);
  });

  it('[CNC-3] overwrites no key and no consortium, and makes none of keys that are none', async () => {
    const create = (...more: string[]) => run('consortium', 'create', '--name', 'H', '--threshold', '1', ...more);
    const before = readFileSync(at('consortium.json'), 'utf8');
    assert.match((await create('--keys', '1', '--out', folder)).errors, /consortium\.json is there already/);
    assert.equal(readFileSync(at('consortium.json'), 'utf8'), before);
    mkdirSync(at('other'));
    for (const key of ['00'.repeat(32), 'ff'.repeat(32), 'AB'.repeat(32), '12'])
      assert.match((await create('--public-key', key, '--out', at('other'))).errors, /is no sound Ed25519 key/);
    writeFileSync(at('other/key-2.key'), 'a key');
    assert.match((await create('--keys', '2', '--out', at('other'))).errors, /key-2\.key is there already/);
    assert.deepEqual(readdirSync(at('other')), ['key-2.key'], 'nothing is made by halves');
    assert.match((await run('consortium', 'key', '--out', at('key-1.key'))).errors, /key-1\.key is there already/);
    const secret = readFileSync(at('key-1.key'), 'utf8');
    for (const out of ['key-1.key', 'consortium.json']) {
      const refused = await run('consortium', 'revoke', ...signing(1), '--out', at(out));
      assert.deepEqual([refused.code, /is no revocations: it is not overwritten/.test(refused.errors)], [2, true]);
    }
    assert.equal(readFileSync(at('key-1.key'), 'utf8'), secret);
    chmodSync(at('key-1.key'), 0o644);
    const loose = await run('consortium', 'revoke', ...signing(1), '--out', at('loose.json'));
    assert.match(loose.errors, /could be read by others \(mode 644\); it is 600 now/);
    assert.equal(statSync(at('key-1.key')).mode & 0o777, 0o600);
  });

  it('[CNC-4] says what a signature lacks: the fingerprint, the consortium, a proposal of a new key, further signatures', async () => {
    const [file] = readdirSync(at('requests'));
    const sign = (...more: string[]) => run('consortium', 'sign', ...more, '--out', at('signed.json'));
    const request = join(at('requests'), file!);
    assert.match((await sign(request, ...signing(1))).errors, /only the site can say which key/);
    assert.match(
      (await sign(request, ...signing(1), '--fingerprint', 'AAAA')).errors,
      /another key than --fingerprint/,
    );
    const own = await run('consortium', 'revoke', ...signing(1), '--out', at('own.json'));
    assert.match(own.errors, /without --list this is the first list/);
    assert.match(own.errors, /not whole yet: another administrator signs it with: tributary consortium sign/);
    assert.match((await sign(at('own.json'), ...signing(2))).errors, /whole: an operator takes it in with/);
    mkdirSync(at('foreign'));
    await done('consortium', 'create', '--name', 'X', '--threshold', '1', '--keys', '1', '--out', at('foreign'));
    const foreign = ['--consortium', at('foreign/consortium.json'), '--key', at('foreign/key-1.key')];
    for (const document of ['own.json', `cert-${file}`])
      assert.match((await sign(at(document), ...foreign)).errors, /it is of another consortium than "X"/);
    const certificate = at(`cert-${file}`);
    const revoke = ['consortium', 'revoke', certificate, ...foreign, '--out', at('x.json')];
    assert.match((await run(...revoke)).errors, /it is of another consortium than "X"/);
    for (const document of [certificate, at('own.json')]) {
      const refused = await run('consortium', 'rotate', document, ...signing(1), '--out', at('x.json'));
      assert.match(refused.errors, /is no proposal of a new key/);
    }
  });

  it('[CNC-2] an operator exports the log, anybody verifies it, and a changed file is named and fails', async () => {
    await done('audit', 'export', '--state', at('state'), '--out', at('log.jsonl'));
    const verdict = await done('audit', 'verify', '--log', at('log.jsonl'));
    assert.deepEqual(verdict.faults, []);
    await done('audit', 'verify', '--state', at('state'));
    const text = readFileSync(at('log.jsonl'), 'utf8');
    writeFileSync(
      at('changed.jsonl'),
      text.replace('client-enrolled', 'client-enrolled').replace(/"payload":"\{/, '"payload":"{ '),
    );
    const changed = await run('audit', 'verify', '--log', at('changed.jsonl'));
    assert.equal(changed.code, 1);
    assert.match(changed.errors, /details of entry 0/);
    assert.equal((await run('audit', 'verify')).code, 2);
    assert.equal((await run('audit', 'verify', '--log', at('log.jsonl'), '--round', '0')).code, 2);
    assert.equal((await run('audit', 'verify', '--state', at('state'), '--round', '0')).code, 2);
    assert.equal((await run('audit', 'verify', '--log', at('log.jsonl'), '--receipt', at('list.json'))).code, 2);
    assert.equal((await run('adapters', 'rollback', '--state', at('state'), '--to-version', '0')).code, 2);
  });
});
