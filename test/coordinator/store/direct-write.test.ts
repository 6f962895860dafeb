import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alignedMemory, writeDirectly } from '../../../coordinator/store/direct-write.ts';
import { createUploadFiles } from '../../../coordinator/store/uploads-on-disk.ts';
import type { Digest } from '../../../shared/core/ids.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-direct-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Parts of 8 KiB of aligned memory that is full of sevens, the last of `rest` bytes. */
function partsOf(count: number, rest: number): Uint8Array[] {
  const memory = alignedMemory(count * 8_192);
  assert.ok(memory !== null);
  new Uint8Array(memory).fill(7);
  return Array.from(
    { length: count },
    (_, index) => new Uint8Array(memory, index * 8_192, index === count - 1 ? rest : 8_192),
  );
}

describe('direct writes', () => {
  it('[DWR-1] a file holds its parts and nothing of what lies behind them; where the disk cannot, there is none', async () => {
    for (const [index, rest] of [8_192, 4_096, 1, 5_000].entries()) {
      const parts = partsOf(3, rest);
      const path = join(folder, `${index}`);
      const handle = await writeDirectly(path, parts);
      if (handle === null) continue;
      await handle.close();
      const bytes = readFileSync(path);
      assert.equal(bytes.length, 2 * 8_192 + rest);
      assert.ok(bytes.every((byte) => byte === 7));
    }
  });

  it('[DWR-2] what takes no such writes is no fault', async () => {
    const devices = process.platform === 'linux' ? ['/dev/null'] : [];
    for (const path of devices) assert.equal(await writeDirectly(path, partsOf(1, 100)), null);
    assert.equal(await writeDirectly(join(folder, 'nothing'), []), null);
  });

  it('[DWR-3] a folder that is not there is a fault', async () => {
    if (process.platform !== 'linux') return;
    await assert.rejects(writeDirectly(join(folder, 'none', 'file'), partsOf(1, 100)), { code: 'ENOENT' });
  });

  it('[DWR-4] where the disk refuses, an upload is written as usual, and nothing of what the attempt left remains', async () => {
    let refusals = 0;
    const refuse = async (path: string): Promise<null> => {
      refusals++;
      writeFileSync(path, new Uint8Array(50_000).fill(9));
      return null;
    };
    const pathOf = (): string => join(folder, 'refused');
    const settle = async (handle: FileHandle, path: string): Promise<void> => {
      await handle.close();
      renameSync(path, pathOf());
    };
    const upload = createUploadFiles({ temporary: folder, pathOf, settle }, 2 ** 20, refuse).stage();
    const content = Uint8Array.from({ length: 10_000 }, (_, index) => index % 251);
    await upload.write(0, content);
    await upload.commit('ab'.repeat(32) as Digest);
    assert.equal(refusals, 1);
    assert.deepEqual(Uint8Array.from(readFileSync(pathOf())), content);
  });
});
