import { strict as assert } from 'node:assert';
import { openBaseFiles } from '../../client/base-files.ts';
import type { ContentCache } from '../../client/platform/ports.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { bytesInMemory, readRange } from '../../shared/model/byte-source.ts';
import { referenceTo } from '../../shared/protocol/blob-reference.ts';

const large = new Uint8Array(1024 * 1024 + 3).fill(7);
const small = Uint8Array.of(1, 2, 3);
const base = [
  { name: 'config.json', blob: referenceTo(small).reference },
  { name: 'model.safetensors', blob: referenceTo(large).reference },
];

/** A cache with what a test puts there, which counts what is open. */
function cacheOf(
  content: Map<Digest, Uint8Array>,
  options: { readonly opens?: boolean; readonly keeps?: boolean } = {},
) {
  const { opens = true, keeps = true } = options;
  const fetched: string[] = [];
  const handed: Uint8Array[] = [];
  let openCount = 0;
  const cache: ContentCache = {
    get: async (digest) => content.get(digest) ?? null,
    put: async (digest, bytes) => void content.set(digest, bytes),
    ...(opens
      ? {
          open: async (digest: Digest) => {
            const bytes = content.get(digest);
            if (bytes === undefined) return null;
            openCount++;
            return { ...bytesInMemory(bytes), close: () => openCount-- };
          },
        }
      : {}),
  };
  const fetch = async (name: string): Promise<Uint8Array> => {
    fetched.push(name);
    const bytes = name === 'config.json' ? small : large;
    if (keeps) content.set(digestOf(bytes), bytes);
    const given = bytes.slice();
    handed.push(given);
    return given;
  };
  return { cache, fetch, fetched, handed, openCount: () => openCount };
}

const bytesOf = (files: Awaited<ReturnType<typeof openBaseFiles>>['files'], name: string): Uint8Array => {
  const file = files.get(name)!;
  return file instanceof Uint8Array ? file : readRange(file, 0, file.size);
};

describe('openBaseFiles', () => {
  it('[CBF-1] fetches what is missing, reads large files from the cache, and closes them', async () => {
    const { cache, fetch, fetched, handed, openCount } = cacheOf(new Map());
    const { files, close } = await openBaseFiles(base, { cache, fetch });
    assert.deepEqual(fetched, ['config.json', 'model.safetensors']);
    assert.ok(files.get('config.json') instanceof Uint8Array);
    assert.ok(!(files.get('model.safetensors') instanceof Uint8Array));
    assert.deepEqual(bytesOf(files, 'model.safetensors'), large);
    assert.equal(openCount(), 1);
    // What was fetched is given back at once where the cache has it, and only there.
    assert.deepEqual(
      handed.map(({ length }) => length),
      [small.length, 0],
    );
    close();
    assert.equal(openCount(), 0);
  });

  it('[CBF-2] fetches nothing large that is kept and right, and what is kept and wrong again', async () => {
    const content = new Map([[digestOf(large), large]]);
    const right = cacheOf(content);
    const first = await openBaseFiles(base, right);
    assert.deepEqual(right.fetched, ['config.json']);
    first.close();
    content.set(digestOf(large), new Uint8Array(large.length));
    const wrong = cacheOf(content);
    const second = await openBaseFiles(base, wrong);
    assert.deepEqual(wrong.fetched, ['config.json', 'model.safetensors']);
    assert.deepEqual(bytesOf(second.files, 'model.safetensors'), large);
    second.close();
    assert.equal(wrong.openCount(), 0);
  });

  it('[CBF-3] does without a cache that opens or keeps anything', async () => {
    for (const options of [{ opens: false }, { keeps: false }]) {
      const { cache, fetch } = cacheOf(new Map(), options);
      const { files, close } = await openBaseFiles(base, { cache, fetch });
      assert.deepEqual(bytesOf(files, 'model.safetensors'), large);
      close();
    }
  });

  it('[CBF-4] leaves nothing open when a file cannot be had', async () => {
    const { cache, openCount } = cacheOf(new Map([[digestOf(large), large]]));
    const fetch = () => Promise.reject(new Error('no connection'));
    await assert.rejects(openBaseFiles([...base].reverse(), { cache, fetch }), /no connection/);
    assert.equal(openCount(), 0);
  });
});
