import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryState, openExistingState, openState } from '../../../coordinator/store/state.ts';
import { toHex } from '../../../shared/core/bytes.ts';
import { lockFolder } from '../../../shared/core/folder-lock.node.ts';
import { seededEntropy } from '../harness.ts';

describe('state of a coordinator', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-state-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('[STA-1] is made on first use with a key for its owner only, and opened again with the same', async () => {
    const path = join(folder, 'fresh');
    const first = await openState(path, seededEntropy(1));
    await first.close();
    const key = join(path, 'identity.key');
    assert.equal(statSync(key).mode & 0o777, 0o600);
    assert.match(readFileSync(key, 'utf8'), /^[0-9a-f]{64}\n$/);
    const second = await openState(path, seededEntropy(2));
    assert.equal(toHex(second.identity.publicKey), toHex(first.identity.publicKey));
    await second.close();
    await second.close();
  });

  it('[STA-2] belongs to one running coordinator; commands may look beside it; it is free when that ends', async () => {
    const path = join(folder, 'busy');
    const running = await openState(path);
    await assert.rejects(openState(path), { code: 'state-in-use' });
    await running.store.createFederation({ federationId: 'fe' } as never);
    const beside = await openExistingState(path);
    assert.equal(beside.record.federationId, 'fe');
    await beside.store.setAddress('http://elsewhere');
    assert.equal(await running.store.address(), 'http://elsewhere');
    await beside.close();
    await running.close();
    await (await openState(path)).close();
  });

  it('[STA-3] is free again when its coordinator was killed', async () => {
    const path = join(folder, 'killed');
    mkdirSync(path);
    const script = `const { lockFolder } = await import(${JSON.stringify(join(import.meta.dirname, '../../../shared/core/folder-lock.node.ts'))});
      globalThis.release = lockFolder(${JSON.stringify(path)}, 'coordinator'); console.log('held'); setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    assert.throws(() => lockFolder(path, 'coordinator'), { code: 'state-in-use' });
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    lockFolder(path, 'coordinator')();
  });

  it('[STA-4] looking for a federation where there is none makes nothing', async () => {
    const path = join(folder, 'nothing');
    await assert.rejects(openExistingState(path), { code: 'no-federation' });
    assert.equal(readdirSync(folder).includes('nothing'), false);
    await (await openState(join(folder, 'empty'))).close();
    await assert.rejects(openExistingState(join(folder, 'empty')), { code: 'no-federation' });
  });

  it('[STA-5] a key that is no key is named and never replaced', async () => {
    const path = join(folder, 'broken');
    mkdirSync(path);
    writeFileSync(join(path, 'identity.key'), 'half a ke');
    await assert.rejects(openState(path), { code: 'bad-key-file', message: /restore it from a backup/ });
    assert.equal(readFileSync(join(path, 'identity.key'), 'utf8'), 'half a ke');
    // The lock was given back.
    writeFileSync(join(path, 'identity.key'), '11'.repeat(32));
    await (await openState(path)).close();
  });

  it('[STA-6] a folder that cannot be used is named', async () => {
    if (process.getuid?.() === 0) {
      // Whoever may write everywhere meets this fault only where there is a file in the place of the folder.
      const file = join(folder, 'file');
      writeFileSync(file, '');
      await assert.rejects(openState(file), { code: 'store-failed', message: /cannot use .*file/ });
      return;
    }
    const path = join(folder, 'locked');
    mkdirSync(path);
    chmodSync(path, 0o500);
    await assert.rejects(openState(path), { code: 'store-failed' });
  });

  it('[STA-7] in memory it signs like any other, and ends with the process', async () => {
    const state = memoryState(seededEntropy(1));
    assert.equal(state.identity.sign('OFFER', new Uint8Array(1)).length, 64);
    await state.close();
  });
});
