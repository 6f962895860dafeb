import { strict as assert } from 'node:assert';
import type { ContentCache } from '../../../client/platform/ports.ts';
import { fetchBlob } from '../../../client/transport/download.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { chunkBytesMax } from '../../../shared/core/limits.ts';
import { refuse, succeed } from '../../../shared/core/result.ts';
import { digestOf } from '../../../shared/crypto/hash.ts';
import { referenceTo } from '../../../shared/protocol/blob-reference.ts';
import { violation } from '../../../shared/protocol/violations.ts';

const bytes = Uint8Array.from({ length: 5 * chunkBytesMax + 7 }, (_, index) => (index * 31) % 251);
const { reference, manifest } = referenceTo(bytes);
const signal = new AbortController().signal;
const part = (index: number) => bytes.subarray(index * chunkBytesMax, (index + 1) * chunkBytesMax);

/** Fetches from a coordinator that gives `chunk`; counts what is asked for. */
function setting(chunk: (index: number, count: number) => Uint8Array, given = manifest) {
  const asked: number[] = [];
  const kept = new Map<Digest, Uint8Array>();
  const cache: ContentCache = {
    get: async (digest) => kept.get(digest) ?? null,
    put: async (digest, content) => void kept.set(digest, content),
  };
  const progress: number[] = [];
  const calls: Parameters<typeof fetchBlob>[0]['calls'] = {
    fetchManifest: async () => succeed(given),
    fetchChunk: async (_digest, index) => {
      asked.push(index);
      return succeed(chunk(index, asked.filter((other) => other === index).length));
    },
  };
  const onProgress = (done: number): void => void progress.push(done);
  const fetch = (changes: Partial<Parameters<typeof fetchBlob>[0]> = {}) =>
    fetchBlob({ reference, sizeMax: bytes.length, calls, cache, signal, onProgress, ...changes });
  return { asked, kept, progress, calls, fetch };
}

describe('chunked download', () => {
  it('[DLD-81] fetches every chunk once, keeps the whole, and finds it in the cache', async () => {
    const { asked, fetch, progress } = setting(part);
    assert.deepEqual(await fetch(), bytes);
    assert.deepEqual(
      asked.toSorted((left, right) => left - right),
      [0, 1, 2, 3, 4, 5],
    );
    assert.equal(progress.at(-1), bytes.length);
    assert.deepEqual(await fetch(), bytes);
    assert.equal(asked.length, 6);
  });

  it('[DLD-82] fetches again what a cache holds in a damaged form', async () => {
    const { kept, asked, fetch } = setting(part);
    kept.set(reference.digest, bytes.slice().fill(0));
    assert.deepEqual(await fetch(), bytes);
    assert.equal(asked.length, 6);
  });

  it('[DLD-83] asks again for a corrupt chunk, and gives up on a coordinator that keeps sending it', async () => {
    const corrupt = part(2).slice();
    corrupt[100]! ^= 1;
    const once = setting((index, count) => (index === 2 && count === 1 ? corrupt : part(index)));
    assert.deepEqual(await once.fetch(), bytes);
    assert.equal(once.asked.filter((index) => index === 2).length, 2);
    const always = setting((index) => (index === 2 ? corrupt : part(index)));
    await assert.rejects(always.fetch(), { code: 'blob-mismatch', message: /chunk-mismatch.*chunk 2/ });
    assert.equal(always.kept.size, 0);
    const short = setting((index) => (index === 5 ? part(5).subarray(1) : part(index)));
    await assert.rejects(short.fetch(), { code: 'blob-mismatch', message: /wrong-length/ });
  });

  it('[DLD-84] believes no list of chunk digests whose root was not signed', async () => {
    const chunkDigests = [...manifest.chunkDigests.slice(0, 5), reference.digest];
    const { fetch, asked } = setting(part, { ...manifest, chunkDigests });
    await assert.rejects(fetch(), { code: 'blob-mismatch', message: /root-mismatch/ });
    await assert.rejects(setting(part, { ...manifest, size: 9 }).fetch(), { message: /wrong-length/ });
    assert.deepEqual(asked, []);
  });

  it('[DLD-85] asks for nothing that is larger than allowed, and says what the coordinator refuses', async () => {
    const { fetch, calls } = setting(part);
    await assert.rejects(fetch({ sizeMax: bytes.length - 1 }), { code: 'blob-too-large' });
    const unknown = { ...calls, fetchManifest: async () => refuse(violation('blob-unknown', 'gone')) };
    await assert.rejects(fetch({ calls: unknown }), { code: 'blob-refused', message: /blob-unknown.*gone/ });
    const lost = { ...calls, fetchChunk: async () => refuse(violation('blob-unknown', 'gone')) };
    await assert.rejects(fetch({ calls: lost }), { code: 'blob-refused' });
  });

  it('[DLD-90] looks at single chunks only when the signed hash of the whole does not fit, and fetches the wrong ones again', async () => {
    const isWhole = (whole: Uint8Array): boolean => digestOf(whole) === reference.digest;
    const right = setting(part);
    let manifests = 0;
    const counting = {
      ...right.calls,
      fetchManifest: async () => {
        manifests++;
        return succeed(manifest);
      },
    };
    assert.deepEqual(await right.fetch({ isWhole, calls: counting }), bytes);
    assert.equal(manifests, 0);
    assert.equal(right.progress.at(-1), bytes.length);
    const corrupt = part(2).slice();
    corrupt[100]! ^= 1;
    const once = setting((index, count) => {
      if (count > 1) return part(index);
      return index === 2 ? corrupt.slice() : index === 4 ? part(4).subarray(1) : part(index);
    });
    assert.deepEqual(await once.fetch({ isWhole }), bytes);
    assert.deepEqual(
      once.asked.toSorted((left, right_) => left - right_),
      [0, 1, 2, 2, 3, 4, 4, 5],
    );
    const always = setting((index) => (index === 2 ? corrupt.slice() : part(index)));
    await assert.rejects(always.fetch({ isWhole }), { code: 'blob-mismatch', message: /chunk-mismatch.*chunk 2/ });
    assert.equal(always.kept.size, 0);
  });

  it('[DLD-91] bytes of the reference that are not what the signed hash names are given back for its reader to refuse', async () => {
    const { fetch } = setting(part);
    assert.deepEqual(await fetch({ isWhole: () => false }), bytes);
  });
});
