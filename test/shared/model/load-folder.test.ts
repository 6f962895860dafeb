import { strict as assert } from 'node:assert';
import { truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { memory, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { concatBytes, utf8 } from '../../../shared/core/bytes.ts';
import { FormatError, UsageError } from '../../../shared/core/errors.ts';
import { openByteFile } from '../../../shared/model/byte-file.node.ts';
import { pieceBytes, readRange } from '../../../shared/model/byte-source.ts';
import { type DigestPart, hashParts } from '../../../shared/model/digest.ts';
import { hashInThread } from '../../../shared/model/digest-thread.node.ts';
import { loadBase, pretrainedFolder, readBaseFiles } from '../../../shared/model/load.node.ts';
import { baseModelFrom, describeFiles } from '../../../shared/model/load.ts';
import type { StoredTensor } from '../../../shared/model/safetensors-header.ts';
import { inFolder, sharded } from './checkpoint-files.ts';
import { fixtureBatch, fixtureFiles } from './fixtures.ts';

/** The fixture of a family with a tokenizer of two words. */
function withTokenizer(family: string, shardCount: number): Map<string, Uint8Array> {
  const files = shardCount === 1 ? fixtureFiles(family) : sharded(fixtureFiles(family), shardCount);
  const model = { type: 'WordPiece', vocab: { '[UNK]': 0, a: 1 }, unk_token: '[UNK]', max_input_chars_per_word: 9 };
  const parts = { normalizer: null, pre_tokenizer: { type: 'Whitespace' }, post_processor: null, decoder: null };
  const tokenizer = { version: '1.0', added_tokens: [], ...parts, model };
  return new Map(files).set('tokenizer.json', utf8(JSON.stringify(tokenizer)));
}

describe('loadBase', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`[LDF-1] computes what the same files in memory compute, sharded or not, on ${backend}`, async () => {
      await useBackend(backend);
      const before = memory().numTensors;
      for (const family of ['bert', 'gpt2'] as const) {
        const files = withTokenizer(family, 1);
        const expected = await baseModelFrom(files);
        for (const shardCount of [1, 3]) {
          const found = await inFolder(withTokenizer(family, shardCount), loadBase);
          assert.deepEqual(found.model.description, expected.model.description);
          assert.deepEqual(found.tokenizer.encode('a b', 9), expected.tokenizer.encode('a b', 9));
          tidy(() => {
            const [left, right] = [found, expected].map(({ model }) => model.encode(fixtureBatch(family)).dataSync());
            assert.deepEqual(left, right);
          });
          found.model.dispose();
        }
        expected.model.dispose();
      }
      assert.equal(memory().numTensors, before);
    });
  }

  it('[LDF-2] refuses a file that was cut off, and leaves no tensor', async () => {
    await useBackend('wasm');
    const before = memory().numTensors;
    const files = withTokenizer('bert', 1);
    await inFolder(files, async (folder) => {
      const path = join(folder, 'model.safetensors');
      const file = openByteFile(path);
      truncateSync(path, files.get('model.safetensors')!.length - 100);
      assert.throws(() => readRange(file, 0, file.size), /cannot read .*: expected \d+ bytes, found \d+/);
      file.close();
      await assert.rejects(loadBase(folder), FormatError);
    });
    assert.equal(memory().numTensors, before);
  });

  it('[LDF-3] wants a tokenizer, and says how to get one', async () => {
    await inFolder(fixtureFiles('bert'), (folder) =>
      assert.rejects(loadBase(folder), /no tokenizer\.json; save one with AutoTokenizer/),
    );
  });
});

describe('byte files', () => {
  it('[LDF-4] give any range, lent until the next', async () => {
    const bytes = Uint8Array.from({ length: 3 * pieceBytes + 17 }, (_, index) => index % 251);
    await inFolder(new Map([['x', bytes]]), (folder) => {
      const file = openByteFile(join(folder, 'x'));
      assert.equal(file.size, bytes.length);
      assert.deepEqual(new Uint8Array(file.piece(pieceBytes + 3, 5)), bytes.slice(pieceBytes + 3, pieceBytes + 8));
      assert.deepEqual(readRange(file, 7, bytes.length - 7), bytes.subarray(7));
      assert.deepEqual(readRange(file, 0, 0), new Uint8Array());
      file.close();
    });
  });

  it('[LDF-5] notice that a file was changed while it was read', async () => {
    await inFolder(new Map([['x', utf8('before')]]), (folder) => {
      const path = join(folder, 'x');
      const file = openByteFile(path);
      file.checkUnchanged();
      utimesSync(path, 1, 1);
      assert.throws(() => file.checkUnchanged(), /x was changed while it was read; load it again/);
      writeFileSync(path, 'longer than before');
      assert.throws(() => file.checkUnchanged(), /was changed/);
      file.close();
    });
  });
});

describe('hashInThread', () => {
  it('[LDF-6] gives the digest that is computed here', async () => {
    await inFolder(new Map([['x', concatBytes(new Uint8Array(pieceBytes), utf8('tail'))]]), async (folder) => {
      const source = openByteFile(join(folder, 'x'));
      const range = (offset: number, byteCount: number): StoredTensor => ({
        dtype: 'U8',
        shape: [byteCount],
        source,
        offset,
        byteCount,
      });
      const parts: DigestPart[] = [utf8('head'), range(3, pieceBytes), range(0, 0), utf8('end')];
      const hashing = hashInThread(parts);
      assert.equal(await hashing.digest, hashParts(parts));
      await hashing.stop();
      const beyond = hashInThread([range(pieceBytes, 100)]);
      await assert.rejects(beyond.digest, (thrown) => {
        return thrown instanceof UsageError && /cannot read the weights: the file ends at byte/.test(thrown.message);
      });
      await beyond.stop();
      source.close();
    });
  });
});

describe('the base that ships', () => {
  it('[LDF-7] has one digest, from its folder, from memory and in shards', async () => {
    await useBackend('cpu');
    const files = await readBaseFiles(pretrainedFolder());
    const { model } = await loadBase(pretrainedFolder());
    assert.equal(describeFiles(files).digest, model.description.digest);
    assert.equal(describeFiles(sharded(files, 4)).digest, model.description.digest);
    model.dispose();
  });
});
