import { strict as assert } from 'node:assert';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openIdentity } from '../../../coordinator/store/keys.node.ts';
import { openExistingState, openState } from '../../../coordinator/store/state.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';

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
});
