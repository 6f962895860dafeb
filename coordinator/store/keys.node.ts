/**
 * The coordinator's identity key: 32 bytes of seed as hex, in a file that only its owner can read, or in the environment variable
 * `TRIBUTARY_COORDINATOR_KEY`, where a secret store puts it; then nothing is written.
 */
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { errorMessage, StoreError } from '../../shared/core/errors.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { takeIdentity } from '../../shared/crypto/identity.ts';

/**
 * The identity kept in `stateFolder`, made on first use. Whoever has this file is this coordinator: clients pin its public key. `entropy` null: none is
 * made, because the state was made with one.
 * @throws StoreError when the file cannot be read or written, or is no key; `key-missing`.
 */
export function openIdentity(
  stateFolder: string,
  entropy: Entropy | null,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Identity {
  const path = join(stateFolder, 'identity.key');
  const given = environment[keyVariable]?.trim();
  if (given !== undefined && given !== '') return identityOfVariable(given, readKey(path));
  const stored = readKey(path);
  if (stored === null && entropy === null) {
    const next = `set ${keyVariable} to the key that its coordinator runs with, or restore identity.key from a backup`;
    throw new StoreError('key-missing', `${stateFolder} holds a federation and no key of its coordinator: ${next}`);
  }
  const text = stored ?? writeKey(stateFolder, path, toHex(entropy!.bytes(32)));
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new StoreError(
      'bad-key-file',
      `${path} must hold 64 hex digits; restore it from a backup: with another key clients refuse this coordinator`,
    );
  }
  return takeIdentity(fromHex(text), engineCrypto);
}

/** The environment variable with the coordinator's key. */
export const keyVariable = 'TRIBUTARY_COORDINATOR_KEY';

/** The identity of the environment. @throws StoreError `bad-key-variable`, or `two-keys` when the state was made with another one. */
function identityOfVariable(text: string, stored: string | null): Identity {
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new StoreError('bad-key-variable', `${keyVariable} must hold 64 lower-case hex digits`);
  if (stored !== null && stored !== text) {
    const next =
      'clients pinned the key of the file: unset the variable, or remove the file if it is not used any more';
    throw new StoreError('two-keys', `${keyVariable} holds another key than identity.key of the state folder; ${next}`);
  }
  return takeIdentity(fromHex(text), engineCrypto);
}

function readKey(path: string): string | null {
  try {
    const text = readFileSync(path, 'utf8').trim();
    // A copy from a backup may have lost its mode.
    chmodSync(path, 0o600);
    return text;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new StoreError('key-unreadable', `cannot read ${path}: ${errorMessage(cause)}; check its owner and mode`, {
      cause,
    });
  }
}

/** Written whole or not at all: a half-written key would lock every client out. */
function writeKey(stateFolder: string, path: string, text: string): string {
  try {
    mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
    const file = openSync(`${path}.tmp`, 'w', 0o600);
    writeSync(file, `${text}\n`);
    fsyncSync(file);
    closeSync(file);
    chmodSync(`${path}.tmp`, 0o600);
    renameSync(`${path}.tmp`, path);
    const folder = openSync(stateFolder, 'r');
    if (process.platform !== 'win32') fsyncSync(folder);
    closeSync(folder);
    return text;
  } catch (cause) {
    throw new StoreError(
      'key-not-written',
      `cannot write ${path}: ${errorMessage(cause)}; check the folder and its permissions`,
      { cause },
    );
  }
}
