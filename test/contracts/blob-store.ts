/** What every blob store of the coordinator must do; each implementation runs this whole suite. */
import { strict as assert } from 'node:assert';
import type { CoordinatorBlobs } from '../../coordinator/store/blobs.ts';
import type { Digest } from '../../shared/core/ids.ts';

const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' as Digest;
const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);

/** Registers the suite. */
export function blobStoreContract(name: string, create: () => Promise<CoordinatorBlobs>): void {
  describe(`blob store contract: ${name}`, () => {
    let blobs: CoordinatorBlobs;
    beforeEach(async () => {
      blobs = await create();
    });

    it('[BLB-1] names bytes by their SHA-256', async () => {
      assert.equal(await blobs.put(new Uint8Array(0)), empty);
      assert.equal((await blobs.get(empty)).length, 0);
    });

    it('[BLB-2] gives back what was stored, whole or in parts, and storing again changes nothing', async () => {
      const digest = await blobs.put(bytes);
      assert.equal(await blobs.put(bytes), digest);
      assert.deepEqual(await blobs.get(digest), bytes);
      assert.deepEqual(await blobs.read(digest, 990, 100), bytes.slice(990));
      assert.equal(await blobs.has(digest), true);
    });

    it('[BLB-3] later changes of the caller do not reach it', async () => {
      const mine = bytes.slice();
      const digest = await blobs.put(mine);
      mine[0] = 99;
      assert.deepEqual(await blobs.get(digest), bytes);
    });

    it('[BLB-4] a missing blob is named as missing; deleting one is no error', async () => {
      await assert.rejects(blobs.get(empty), { code: 'blob-missing' });
      await assert.rejects(blobs.read(empty, 0, 1), { code: 'blob-missing' });
      assert.equal(await blobs.has(empty), false);
      await blobs.delete(empty);
    });

    it('[BLB-5] forgets what is deleted', async () => {
      const digest = await blobs.put(bytes);
      await blobs.delete(digest);
      assert.equal(await blobs.has(digest), false);
    });

    it('[BLB-6] a staged blob is filled in any order and appears at its commit only', async () => {
      const digest = await blobs.put(bytes);
      await blobs.delete(digest);
      const staged = await blobs.stage(bytes.length);
      await staged.write(600, bytes.slice(600));
      await staged.write(0, bytes.slice(0, 600));
      const whole = await staged.bytes();
      assert.deepEqual(whole, bytes);
      assert.equal(await blobs.has(digest), false);
      assert.equal(await staged.commit(whole), digest);
      assert.deepEqual(await blobs.get(digest), bytes);
      await staged.discard();
      assert.equal(await blobs.has(digest), true);
    });

    it('[BLB-7] a discarded blob leaves nothing', async () => {
      const staged = await blobs.stage(0);
      await staged.discard();
      assert.equal(await blobs.has(empty), false);
    });

    it('[BLB-8] retains the blobs that are named, and nothing else', async () => {
      const digests = [];
      for (const value of [1, 2, 3]) digests.push(await blobs.put(Uint8Array.of(value)));
      await blobs.retain(new Set([digests[1]!, empty]));
      assert.deepEqual(await Promise.all(digests.map((digest) => blobs.has(digest))), [false, true, false]);
      await blobs.retain(new Set());
      assert.equal(await blobs.has(digests[1]!), false);
    });
  });
}
