/** `client withdraw` against a coordinator on a socket. */
import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from '../../../client/commands.ts';
import { credentialsOf } from '../../../client/enrolment.ts';
import { nodePlatform } from '../../../client/platform/node.node.ts';
import { emptyJournal } from '../../../client/platform/ports.ts';
import { memoryState } from '../../../coordinator/store/state.ts';
import { socketServer } from '../../../coordinator/transport/socket-server.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import { parseEnrolmentCode } from '../../../shared/protocol/enrolment-code.ts';
import { sealEnrolment } from '../../../shared/protocol/handshake.ts';
import { closeWorlds, seededEntropy, startWorld } from '../../coordinator/harness.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

async function withdraw(...argv: string[]) {
  const terminal = fakeTerminal();
  const groups = [{ commands: { client: 'client', personalise: 'personalise' }, load: async () => ({ register }) }];
  const { signal } = new AbortController();
  const code = await runCommandLine({ groups, argv: ['client', ...argv], version: '0', terminal, signal });
  return { code, output: terminal.output.join(''), errors: terminal.errors.join('') };
}

describe('client withdraw', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-withdraw-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(closeWorlds);

  it('[WDC-1] leaves for good, says which versions hold the updates, and keeps the answer', async () => {
    const state = memoryState(seededEntropy(41));
    const { coordinator } = await startWorld({ state, transport: socketServer({ port: 0 }) });
    const platform = await nodePlatform(folder);
    const identity = identityFromSeed(await platform.identitySeed());
    const code = parseEnrolmentCode(await coordinator.invite({ organisation: 'Clinic' }));
    const { token, federationId } = code;
    const request = sealEnrolment(identity, { token, name: 'ward', federationId });
    assert.equal((await platform.requestJson(`${coordinator.url}/v1/enrol`, 5000, request)).status, 200);
    await platform.journal.write({ ...emptyJournal, credentials: credentialsOf(code, identity) });
    const { code: exit, output, errors } = await withdraw('withdraw', '--state', folder);
    assert.equal(exit, 0, errors);
    assert.match(output, /lets this site in no more\nno version holds an update/);
    assert.equal((await state.store.client(identity.clientId))?.status, 'revoked');
    assert.deepEqual(readdirSync(join(folder, 'evidence')), [`${federationId}-withdrawal.json`]);
  });

  it('[WDC-2] says what is missing: the state, the enrolment, and of `client` itself its rows', async () => {
    assert.match((await withdraw('withdraw')).errors, /--state <folder>' not specified/);
    assert.match(
      (await withdraw('withdraw', '--state', join(folder, 'none'))).errors,
      /holds no site that is enrolled/,
    );
    assert.equal(existsSync(join(folder, 'none')), false, 'a wrong folder stays as it was');
    const { code, errors } = await withdraw('--state', folder);
    assert.equal(code, 2);
    assert.match(errors, /required option '--train <file>' not specified/);
  });
});
