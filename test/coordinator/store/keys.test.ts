import { strict as assert } from 'node:assert';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openIdentity } from '../../../coordinator/store/keys.node.ts';
import { openExistingState, openState } from '../../../coordinator/store/state.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { closeWorlds, startWorld } from '../harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-keys-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const variable = (value: string) => ({ TRIBUTARY_COORDINATOR_KEY: value });

describe('key of a coordinator', () => {
  it('[KEY-1] lies in a file of mode 0600, also when a backup gave it another mode', () => {
    const made = openIdentity(folder, seededEntropy(1), {});
    const path = join(folder, 'identity.key');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    chmodSync(path, 0o644);
    assert.deepEqual(openIdentity(folder, seededEntropy(2), {}).publicKey, made.publicKey);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('[KEY-2] comes from the environment where it is given there, and then nothing is written', () => {
    const empty = join(folder, 'empty');
    const key = '0a'.repeat(32);
    const identity = openIdentity(empty, seededEntropy(3), variable(key));
    assert.deepEqual(openIdentity(empty, seededEntropy(4), variable(` ${key}\n`)).publicKey, identity.publicKey);
    assert.equal(existsSync(empty), false);
    assert.throws(() => openIdentity(empty, seededEntropy(3), variable('0A')), { code: 'bad-key-variable' });
    assert.throws(() => openIdentity(folder, seededEntropy(3), variable(key)), { code: 'two-keys' });
  });

  it('[KEY-3] is never made for a state that was made with one: commands and a start without the variable name what is missing', async () => {
    const state = join(folder, 'state');
    await (await openState(state, seededEntropy(5))).close();
    rmSync(join(state, 'identity.key'));
    for (const open of [() => openExistingState(state), () => openState(state, seededEntropy(6))])
      await assert.rejects(open, { code: 'key-missing', message: /TRIBUTARY_COORDINATOR_KEY/ });
    assert.equal(existsSync(join(state, 'identity.key')), false);
  });

  it('[KEY-4] is the one that the federation was made with: with another one nothing is started, signed or written', async () => {
    const path = join(folder, 'federation');
    await startWorld({ state: await openState(path, seededEntropy(7)) });
    await closeWorlds();
    const entries = async () => {
      const { store, close } = await openExistingState(path);
      const rows = await store.log.rows(0);
      await close();
      return rows.length;
    };
    const before = await entries();
    const key = readFileSync(join(path, 'identity.key'));
    writeFileSync(join(path, 'identity.key'), '0b'.repeat(32));
    for (const open of [() => openExistingState(path), () => openState(path, seededEntropy(8))])
      await assert.rejects(open, { code: 'other-key' });
    writeFileSync(join(path, 'identity.key'), key);
    assert.equal(await entries(), before);
    await (await openState(path, seededEntropy(9))).close();
  });
});
