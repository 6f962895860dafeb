/** The commands of a consortium, of an operator who takes its documents in, and of an auditor, with files as people have them. */
import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
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
    for (const seed of [5, 6]) {
      const pending = joinClient(world, seed);
      await assert.rejects(pending, /pending-client/);
    }
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
