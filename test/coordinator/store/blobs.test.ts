import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileBlobs } from '../../../coordinator/store/blob-files.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import { chunkBytesMax } from '../../../shared/core/limits.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { vectorRoot } from '../../../shared/protocol/vector.ts';
import { blobStoreContract } from '../../contracts/blob-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-blobs-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

blobStoreContract('memory', async () => createMemoryBlobs());
blobStoreContract('files', () => openFileBlobs(join(folder, `${count++}`)));

describe('file blobs', () => {
  it('[BLF-1] notice a file whose bytes changed', async () => {
    const root = join(folder, 'rotten');
    const blobs = await openFileBlobs(root);
    const digest = await blobs.put(Uint8Array.of(1, 2, 3));
    writeFileSync(join(root, 'sha256', digest.slice(0, 2), digest.slice(2)), Uint8Array.of(1, 2, 4));
    await assert.rejects(blobs.get(digest), { code: 'blob-corrupt' });
  });

  it('[BLF-6] torn-write: a blob or an upload that reached the disk in part is refused wherever it was cut, never read as what is left', async () => {
    const root = join(folder, 'torn');
    const blobs = await openFileBlobs(root);
    const bytes = Uint8Array.from({ length: 12 }, (_, index) => index);
    const digest = await blobs.put(bytes);
    const staged = blobs.stage();
    await staged.write(0, bytes);
    const upload = vectorRoot(chunkBytesMax, [digestOf(bytes)]);
    await staged.commit(upload);
    const pathOf = (name: string): string => join(root, 'sha256', name.slice(0, 2), name.slice(2));
    for (const name of [digest, upload]) {
      const whole = readFileSync(pathOf(name));
      for (let size = 0; size < whole.length; size++) {
        truncateSync(pathOf(name), size);
        const again = await openFileBlobs(root);
        const read = name === digest ? again.get(digest) : again.scan(upload, () => undefined);
        await assert.rejects(read, { code: 'blob-corrupt' }, `${size} bytes`);
        writeFileSync(pathOf(name), whole);
      }
    }
    assert.deepEqual(await (await openFileBlobs(root)).get(digest), bytes);
  });

  it('[BLF-2] what a killed process left half-written goes when a coordinator starts, not when a command opens the folder', async () => {
    const root = join(folder, 'killed');
    await openFileBlobs(root);
    writeFileSync(join(root, 'tmp', 'half'), 'x');
    const blobs = await openFileBlobs(root);
    assert.deepEqual(readdirSync(join(root, 'tmp')), ['half']);
    await blobs.retain(new Set());
    assert.deepEqual(readdirSync(join(root, 'tmp')), []);
  });

  for (const [what, bytesMax] of [
    ['in memory', 2 ** 20],
    ['partly in memory', chunkBytesMax + 1],
    ['on the disk', 0],
  ] as const) {
    it(`[BLF-3] an upload ${what} is whole after its commit, and as small as it was`, async () => {
      const root = join(folder, `resident-${bytesMax}`);
      const blobs = await openFileBlobs(root, { residentBytesMax: bytesMax });
      const chunks = [1, 2, 3].map((value) => new Uint8Array(value < 3 ? chunkBytesMax : 8).fill(value));
      const name = vectorRoot(
        chunkBytesMax,
        chunks.map((chunk) => digestOf(chunk)),
      );
      const staged = blobs.stage();
      for (const index of [1, 2, 0]) await staged.write(index, chunks[index]!.slice());
      await staged.commit(name);
      const fresh = await openFileBlobs(root);
      for (const store of [blobs, fresh]) {
        const found: Uint8Array[] = [];
        await store.scan(name, (chunk) => found.push(chunk.slice()));
        assert.deepEqual(found, chunks);
      }
      assert.equal(statSync(join(root, 'sha256', name.slice(0, 2), name.slice(2))).size, 2 * chunkBytesMax + 8);
      assert.deepEqual(readdirSync(join(root, 'tmp')), []);
    });
  }

  it('[BLF-4] notice an upload whose bytes changed on the disk, after the last chunk', async () => {
    const root = join(folder, 'rotten-upload');
    const blobs = await openFileBlobs(root, { residentBytesMax: 0 });
    const chunk = Uint8Array.of(1, 2, 3, 4);
    const name = vectorRoot(chunkBytesMax, [digestOf(chunk)]);
    const staged = blobs.stage();
    await staged.write(0, chunk);
    await staged.commit(name);
    writeFileSync(join(root, 'sha256', name.slice(0, 2), name.slice(2)), Uint8Array.of(1, 2, 3, 5));
    await assert.rejects(
      blobs.scan(name, () => undefined),
      { code: 'blob-corrupt' },
    );
  });

  it('[BLF-5] an upload that is given up leaves no file, whatever of it was written', async () => {
    const root = join(folder, 'given-up');
    const blobs = await openFileBlobs(root, { residentBytesMax: 0 });
    const staged = blobs.stage();
    await staged.write(0, Uint8Array.of(1, 2, 3, 4));
    assert.equal(readdirSync(join(root, 'tmp')).length, 1);
    await staged.discard();
    assert.deepEqual(readdirSync(join(root, 'tmp')), []);
  });
});
