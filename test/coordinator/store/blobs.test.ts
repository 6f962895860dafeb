import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileBlobs } from '../../../coordinator/store/blob-files.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
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

  it('[BLF-2] what a killed process left half-written goes when a coordinator starts, not when a command opens the folder', async () => {
    const root = join(folder, 'killed');
    await openFileBlobs(root);
    writeFileSync(join(root, 'tmp', 'half'), 'x');
    const blobs = await openFileBlobs(root);
    assert.deepEqual(readdirSync(join(root, 'tmp')), ['half']);
    await blobs.retain(new Set());
    assert.deepEqual(readdirSync(join(root, 'tmp')), []);
  });
});
