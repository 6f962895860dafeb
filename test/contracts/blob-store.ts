/** What every blob store of the coordinator must do; each implementation runs this whole suite. */
import { strict as assert } from 'node:assert';
import type { CoordinatorBlobs } from '../../coordinator/store/blobs.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { chunkDigests, vectorRoot } from '../../shared/protocol/vector.ts';

const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' as Digest;
const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);

/** An upload of two whole chunks and a part of one, different for every `seed`. */
function upload(seed: number): { readonly chunks: readonly Uint8Array[]; readonly root: Digest } {
  const whole = Uint8Array.from({ length: 2 * chunkBytesMax + 12 }, (_, index) => (index * seed) % 251);
  const chunks = [0, 1, 2].map((index) => whole.slice(index * chunkBytesMax, (index + 1) * chunkBytesMax));
  return { chunks, root: vectorRoot(chunkBytesMax, chunkDigests(whole)) };
}

async function scanned(blobs: CoordinatorBlobs, root: Digest): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  await blobs.scan(root, (chunk, index) => {
    found[index] = chunk.slice();
  });
  return found;
}

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

    it('[BLB-12] stores what is read piece by piece, once', async () => {
      const large = Uint8Array.from({ length: 3 * 2 ** 20 + 5 }, (_, index) => (index * 7) % 251);
      let pieces = 0;
      const lent = new Uint8Array(2 ** 20);
      const source = {
        size: large.length,
        piece: (offset: number, length: number) => {
          pieces++;
          lent.set(large.subarray(offset, offset + length));
          return lent.subarray(0, length);
        },
      };
      const digest = digestOf(large);
      await blobs.putFrom(source, digest);
      assert.ok(pieces > 1);
      assert.deepEqual(await blobs.get(digest), large);
      const before = pieces;
      await blobs.putFrom(source, digest);
      assert.equal(pieces, before);
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

    it('[BLB-6] an upload is filled in any order, appears at its commit only, and is read in order', async () => {
      const { chunks, root } = upload(2);
      const staged = blobs.stage();
      for (const index of [2, 0, 1]) await staged.write(index, chunks[index]!.slice());
      assert.equal(await blobs.has(root), false);
      await staged.commit(root);
      await staged.discard();
      assert.equal(await blobs.has(root), true);
      assert.deepEqual(await scanned(blobs, root), chunks);
      // Across the border of two chunks.
      const from = chunks[0]!.length - 3;
      const expected = [...chunks[0]!.slice(from), ...chunks[1]!.slice(0, 2)];
      assert.deepEqual([...(await blobs.read(root, from, 5))], expected);
      await blobs.delete(root);
      assert.equal(await blobs.has(root), false);
      await assert.rejects(scanned(blobs, root), { code: 'blob-missing' });
    });

    it('[BLB-13] buffer-aliasing: whoever gave bytes may change them as soon as they are taken', async () => {
      const { chunks, root } = upload(6);
      const staged = blobs.stage();
      for (const [index, chunk] of chunks.entries()) {
        // As a socket hands it over: a Buffer, of which a slice is a view.
        const given = Buffer.from(chunk);
        await staged.write(index, given);
        given.fill(0xff);
      }
      await staged.commit(root);
      const found = (await scanned(blobs, root)).map((chunk) => digestOf(chunk));
      assert.deepEqual(
        found,
        chunks.map((chunk) => digestOf(chunk)),
      );
      const given = Buffer.from(bytes);
      const digest = await blobs.put(given);
      given.fill(0xff);
      assert.deepEqual(Uint8Array.from(await blobs.get(digest)), bytes);
    });

    it('[BLB-7] a discarded upload leaves nothing', async () => {
      const { chunks, root } = upload(3);
      const staged = blobs.stage();
      await staged.write(0, chunks[0]!.slice());
      await staged.discard();
      assert.equal(await blobs.has(root), false);
    });

    it('[BLB-9] many uploads are under way at once, and two with the same bytes are one blob', async () => {
      const all = [4, 5, 4].map(upload);
      const staged = all.map(() => blobs.stage());
      for (const index of [0, 1, 2]) {
        await Promise.all(staged.map((one, which) => one.write(index, all[which]!.chunks[index]!.slice())));
      }
      await Promise.all(staged.map((one, which) => one.commit(all[which]!.root)));
      for (const { chunks, root } of all) assert.deepEqual(await scanned(blobs, root), chunks);
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
