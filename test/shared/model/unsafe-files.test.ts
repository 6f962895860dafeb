import { strict as assert } from 'node:assert';
import { utf8 } from '../../../shared/core/bytes.ts';
import { FormatError, UsageError } from '../../../shared/core/errors.ts';
import { describeBase } from '../../../shared/model/load.node.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { inFolder } from './checkpoint-files.ts';
import { fixtureFiles } from './fixtures.ts';

/** A checkpoint whose weights are in a file of another name and content. */
function withWeights(name: string, bytes: Uint8Array): Map<string, Uint8Array> {
  const files = fixtureFiles('bert');
  files.delete('model.safetensors');
  return files.set(name, bytes);
}

function refusal(files: ReadonlyMap<string, Uint8Array>, code: string): string {
  try {
    describeFiles(files);
  } catch (thrown) {
    assert.ok(thrown instanceof FormatError && thrown.code === code, String(thrown));
    return thrown.message;
  }
  assert.fail('the files were accepted');
}

describe('weights that are not read', () => {
  it('[UNS-1] pickles are refused by name, with the reason and the way out', () => {
    for (const name of [
      'pytorch_model.bin',
      'model.pt',
      'model.pth',
      'x.ckpt',
      'x.pkl',
      'pytorch_model.bin.index.json',
    ]) {
      const message = refusal(withWeights(name, utf8('anything')), 'unsafe-file');
      assert.ok(
        message.includes(`${name} is a pickle of Python, which runs its author's code when it is opened`),
        message,
      );
      assert.match(message, /take the checkpoint's safetensors files, or convert it once, .*save_pretrained/);
    }
  });

  it('[UNS-2] other formats are refused by name', () => {
    for (const [name, format] of [
      ['tf_model.h5', 'TensorFlow'],
      ['flax_model.msgpack', 'Flax'],
      ['model.Q4.gguf', 'llama.cpp'],
      ['model.onnx', 'ONNX'],
    ] as const) {
      const message = refusal(withWeights(name, utf8('anything')), 'unsafe-file');
      assert.ok(message.includes(`${name} is weights in the format of ${format}`), message);
    }
  });

  it('[UNS-3] a folder without weights says what is missing, whatever a training left there', () => {
    const message = refusal(withWeights('training_args.bin', utf8('x')), 'missing-file');
    assert.match(
      message,
      /needs model\.safetensors, or model\.safetensors\.index\.json with its shards; found config\.json/,
    );
    assert.match(refusal(withWeights('optimizer.pt', utf8('x')), 'missing-file'), /needs model\.safetensors/);
  });

  it('[UNS-4] a pickle under the name of safetensors is still one', () => {
    const zip = Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 8, 8, 0, 0);
    const protocol2 = Uint8Array.of(0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9);
    for (const bytes of [zip, protocol2]) {
      const message = refusal(withWeights('model.safetensors', bytes), 'unsafe-file');
      assert.match(message, /^model\.safetensors is not a safetensors file but a pickle of Python/);
    }
    // The same first bytes as the length of a header are no pickle.
    const length = Uint8Array.of(0x80, 2, 0, 0, 0, 0, 0, 0, 0x7b);
    assert.match(refusal(withWeights('model.safetensors', length), 'bad-safetensors'), /header claims 640 bytes/);
  });

  it('[UNS-5] a path to a file in place of a folder is refused, a pickle by name', async () => {
    await inFolder(
      new Map([
        ['pytorch_model.bin', utf8('x')],
        ['model.safetensors', utf8('x')],
      ]),
      async (folder) => {
        await assert.rejects(describeBase(`${folder}/pytorch_model.bin`), (thrown) => {
          assert.ok(thrown instanceof UsageError && thrown.code === 'no-base');
          return /pytorch_model\.bin is not a checkpoint folder: it is a pickle of Python/.test(thrown.message);
        });
        await assert.rejects(
          describeBase(`${folder}/model.safetensors`),
          /expected config\.json, .* in a folder, found a file/,
        );
        await assert.rejects(describeBase(`${folder}/absent`), /absent is not a checkpoint folder: .*ENOENT/);
        await assert.rejects(describeBase(folder), /found no config\.json/);
      },
    );
  });

  it('[UNS-6] a pickle beside safetensors weights is left alone', async () => {
    const files = fixtureFiles('bert');
    const both = new Map(files).set('pytorch_model.bin', utf8('never opened'));
    await inFolder(both, async (folder) => assert.deepEqual(await describeBase(folder), describeFiles(files)));
  });
});
