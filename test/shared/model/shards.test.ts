import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import { FormatError } from '../../../shared/core/errors.ts';
import type { ByteSource } from '../../../shared/model/byte-source.ts';
import { describeBase, loadBase, readBaseFiles } from '../../../shared/model/load.node.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { writeSafetensors } from '../../../shared/model/safetensors.ts';
import { indexName, shardNamesOf } from '../../../shared/model/shards.ts';
import { inFolder, sharded, type Tensors, tensorsOf } from './checkpoint-files.ts';
import { allFixtures, fixtureFiles } from './fixtures.ts';

const firstShard = 'model-00001-of-00003.safetensors';

function refusal(files: ReadonlyMap<string, Uint8Array>, code = 'bad-index'): string {
  try {
    describeFiles(files);
  } catch (thrown) {
    assert.ok(thrown instanceof FormatError && thrown.code === code, String(thrown));
    return thrown.message;
  }
  assert.fail('the files were accepted');
}

/** A sharded checkpoint with a changed index. */
function withIndex(change: (weightMap: Record<string, unknown>) => void): Map<string, Uint8Array> {
  const files = sharded(fixtureFiles('bert'), 3);
  const index = JSON.parse(new TextDecoder().decode(files.get(indexName))) as { weight_map: Record<string, unknown> };
  change(index.weight_map);
  return files.set(indexName, utf8(JSON.stringify(index)));
}

/** A sharded checkpoint with changed tensors in its first shard and an index as before. */
function withShard(change: (tensors: Tensors) => void): Map<string, Uint8Array> {
  const files = sharded(fixtureFiles('bert'), 3);
  const tensors = tensorsOf(new Map([['model.safetensors', files.get(firstShard)!]]));
  change(tensors);
  return files.set(firstShard, writeSafetensors(tensors));
}

describe('sharded checkpoints', () => {
  it('[SHD-1] are the base that the single file is, down to the digest', () => {
    for (const family of allFixtures) {
      const whole = describeFiles(fixtureFiles(family));
      for (const count of [1, 2, 5]) assert.deepEqual(describeFiles(sharded(fixtureFiles(family), count)), whole);
    }
  });

  it('[SHD-2] are read from a folder, without what stands there beside them', async () => {
    const files = sharded(fixtureFiles('bert'), 3);
    const extra = new Map(files).set('consolidated.safetensors', utf8('x')).set('pytorch_model.bin', utf8('x'));
    await inFolder(extra, async (folder) => {
      const plain = [...files].map(([name, bytes]) => [name, new Uint8Array(bytes)] as const);
      assert.deepEqual(await readBaseFiles(folder), new Map(plain));
      assert.deepEqual(await describeBase(folder), describeFiles(fixtureFiles('bert')));
    });
  });

  it('[SHD-3] give way to a single file that stands beside them, as in the published loader', () => {
    const files = withIndex((weightMap) => {
      weightMap.surplus = 'absent.safetensors';
    });
    const both = new Map([...files, ...fixtureFiles('bert')]);
    assert.deepEqual(describeFiles(both), describeFiles(fixtureFiles('bert')));
  });

  it('[SHD-4] are refused when the index names a shard that is not there', () => {
    const files = sharded(fixtureFiles('bert'), 3);
    files.delete(firstShard);
    assert.match(refusal(files), /names the shard model-00001-of-00003\.safetensors, which is not there/);
  });

  it('[SHD-5] are refused when a shard lacks a tensor that the index puts there, or holds one that it does not', () => {
    const name = 'bert.encoder.layer.0.output.dense.bias';
    const gone = withIndex((weightMap) => {
      weightMap['bert.encoder.layer.9.output.dense.bias'] = firstShard;
    });
    assert.match(
      refusal(gone),
      /says that bert\.encoder\.layer\.9\.output\.dense\.bias is in model-00001\S+, which lacks it$/,
    );
    const moved = withIndex((weightMap) => {
      const holder = weightMap[name];
      weightMap[name] = holder === firstShard ? 'model-00002-of-00003.safetensors' : firstShard;
    });
    assert.match(refusal(moved), /which lacks it: it is in model-0000\d/);
    const unlisted = withIndex((weightMap) => {
      delete weightMap[name];
    });
    assert.match(refusal(unlisted), /does not list tensor bert\.encoder\.layer\.0\.output\.dense\.bias/);
  });

  it('[SHD-6] are refused when a tensor is in two shards', () => {
    const files = withShard((tensors) => {
      tensors.set('bert.embeddings.LayerNorm.bias', { shape: [32], values: new Float32Array(32) });
      tensors.set('bert.embeddings.LayerNorm.weight', { shape: [32], values: new Float32Array(32) });
    });
    assert.match(refusal(files), /tensor bert\.embeddings\.LayerNorm\.\w+ is in model-00001\S+ and in model-0000\d/);
  });

  it('[SHD-7] never lead out of their folder', () => {
    for (const path of [
      '../model.safetensors',
      '/etc/passwd',
      'a/b.safetensors',
      'a\\b.safetensors',
      '..',
      '.hidden.safetensors',
      'model.bin',
      7,
      null,
    ]) {
      const files = withIndex((weightMap) => {
        weightMap['bert.embeddings.LayerNorm.bias'] = path;
      });
      assert.match(refusal(files), /expected the plain name of a \.safetensors file beside the index/);
    }
  });

  it('[SHD-8] need an index that is one', () => {
    const files = sharded(fixtureFiles('bert'), 2);
    const refused = (text: string, code?: string) => refusal(new Map(files).set(indexName, utf8(text)), code);
    assert.match(refused('{', 'bad-json'), /is not JSON/);
    assert.match(refused('{"weight_map":[]}'), /has no object weight_map/);
    assert.match(refused('{}'), /has no object weight_map/);
    assert.match(refused('{"weight_map":{}}'), /lists no tensor/);
    const twice = '{"weight_map":{"a":"model-00001-of-00002.safetensors","a":"x.safetensors"}}';
    assert.match(refused(twice, 'bad-json'), /index\.json has the key "a" twice/);
    assert.deepEqual(shardNamesOf(files.get(indexName)!).length, 2);
  });

  it('[SHD-9] name the shard that is broken', () => {
    const files = sharded(fixtureFiles('bert'), 3);
    files.set(firstShard, files.get(firstShard)!.subarray(0, -1));
    assert.match(
      refusal(files, 'bad-safetensors'),
      /^model-00001-of-00003\.safetensors is not a valid safetensors file/,
    );
  });

  it('[SHD-10] need every tensor, as single files do', async () => {
    const files = withShard((tensors) => tensors.clear());
    const kept = withIndex((weightMap) => {
      for (const [name, shard] of Object.entries(weightMap)) if (shard === firstShard) delete weightMap[name];
    });
    kept.delete(firstShard);
    assert.match(refusal(kept, 'bad-checkpoint'), /missing /);
    assert.match(refusal(files), /which lacks it/);
    await inFolder(kept, (folder) => assert.rejects(loadBase(folder), /missing /));
  });

  it('[SHD-11] are not read into memory on the word of a name', () => {
    const endless = { size: 2 ** 40, piece: () => assert.fail('it was read') };
    for (const name of [indexName, 'config.json', 'tokenizer.json']) {
      const files = new Map<string, Uint8Array | ByteSource>(sharded(fixtureFiles('bert'), 2)).set(name, endless);
      assert.throws(
        () => describeFiles(files),
        (thrown) => {
          assert.ok(thrown instanceof FormatError && thrown.code === 'file-too-large', String(thrown));
          return thrown.message.startsWith(`${name} has 1099511627776 bytes, expected at most`);
        },
      );
    }
  });
});
