import { strict as assert } from 'node:assert';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openIdentity } from '../../../coordinator/store/keys.node.ts';
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
});
