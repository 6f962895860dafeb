import { strict as assert } from 'node:assert';
import { memory } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { utf8 } from '../../../shared/core/bytes.ts';
import { FormatError } from '../../../shared/core/errors.ts';
import { describeBase, pretrainedFolder, readBaseFiles } from '../../../shared/model/load.node.ts';
import { describeFiles, networkFrom } from '../../../shared/model/load.ts';
import { writeSafetensors } from '../../../shared/model/safetensors.ts';
import { type Tensors, tensorsOf } from './checkpoint-files.ts';
import { fixtureBytes, fixtureFiles } from './fixtures.ts';

type Family = 'bert' | 'gpt2';

/** A family's fixture with changed tensors and settings. */
function changed(family: Family, change: (tensors: Tensors) => void, settings: object = {}): Map<string, Uint8Array> {
  const files = fixtureFiles(family);
  const tensors = tensorsOf(files);
  change(tensors);
  const configuration = { ...JSON.parse(new TextDecoder().decode(files.get('config.json'))), ...settings };
  return files
    .set('model.safetensors', writeSafetensors(tensors))
    .set('config.json', utf8(JSON.stringify(configuration)));
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

const untouched = () => {};

describe('describeFiles', () => {
  it('[MLD-20] knows whether a checkpoint can score its vocabulary', () => {
    const without = (family: string, settings: object, isHead: (name: string) => boolean): boolean => {
      const files = fixtureFiles(family);
      const tensors = tensorsOf(files);
      for (const name of [...tensors.keys()]) if (isHead(name)) tensors.delete(name);
      const configuration = { ...JSON.parse(new TextDecoder().decode(files.get('config.json'))), ...settings };
      files.set('model.safetensors', writeSafetensors(tensors)).set('config.json', utf8(JSON.stringify(configuration)));
      return describeFiles(files).hasLanguageModelHead;
    };
    const none = (): boolean => false;
    for (const family of ['bert', 'roberta', 'distilbert', 'gpt2', 'qwen2', 'llama_mha'])
      assert.ok(without(family, {}, none), family);
    assert.ok(!without('bert', {}, (name) => name.startsWith('cls.')));
    assert.ok(!without('roberta', {}, (name) => name.startsWith('lm_head.')));
    assert.ok(!without('distilbert', {}, (name) => name.startsWith('vocab_')));
    assert.ok(!without('llama_mha', { tie_word_embeddings: false }, (name) => name === 'lm_head.weight'));
  });

  it('[MLD-1] says what a BERT and a GPT-2 checkpoint are', () => {
    const { digest, tensors, ...bert } = describeFiles(fixtureFiles('bert'));
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.deepEqual(tensors.get('encoder.layer.2.intermediate.dense.weight'), [32, 64]);
    const square = { inSize: 32, outSize: 32 };
    assert.deepEqual(bert, {
      family: 'bert',
      layerCount: 3,
      hiddenSize: 32,
      headCount: 4,
      keyValueHeadCount: 4,
      headSize: 8,
      feedForwardSize: 64,
      vocabularySize: 120,
      positionsMax: 40,
      norm: 'post',
      causal: false,
      hasLanguageModelHead: true,
      parameterCount: 32_120,
      linearTargets: {
        q: { ...square, moduleName: 'attention.self.query' },
        k: { ...square, moduleName: 'attention.self.key' },
        v: { ...square, moduleName: 'attention.self.value' },
        o: { ...square, moduleName: 'attention.output.dense' },
        up: { inSize: 32, outSize: 64, moduleName: 'intermediate.dense' },
        down: { inSize: 64, outSize: 32, moduleName: 'output.dense' },
      },
    });
    const gpt2 = describeFiles(fixtureFiles('gpt2'));
    assert.equal(gpt2.norm, 'pre');
    assert.equal(gpt2.causal, true);
    assert.equal(gpt2.feedForwardSize, 128);
    assert.deepEqual(gpt2.linearTargets.qkv, { inSize: 32, outSize: 96, moduleName: 'attn.c_attn' });
  });

  it('[MLD-2] refuses a checkpoint with a missing tensor, and names it', () => {
    const missing = changed('bert', (tensors) => tensors.delete('bert.encoder.layer.1.output.dense.bias'));
    assert.match(refusal(missing, 'bad-checkpoint'), /missing encoder\.layer\.1\.output\.dense\.bias/);
    const half = changed('bert', (tensors) => tensors.delete('cls.predictions.transform.dense.bias'));
    assert.match(refusal(half, 'bad-checkpoint'), /missing cls\.predictions\.transform\.dense\.bias/);
    // The published GPT-2 fixture lacks its fused bias; with zero in its place it would silently be another model.
    const files = fixtureFiles('gpt2').set('model.safetensors', fixtureBytes('gpt2', 'model.safetensors'));
    assert.match(refusal(files, 'bad-checkpoint'), /missing h\.0\.attn\.c_attn\.bias, h\.1\.attn\.c_attn\.bias/);
  });

  it('[MLD-3] refuses surplus tensors, wrong shapes and names that mean the same, and names them', () => {
    const one = { shape: [1], values: new Float32Array(1) };
    const surplus = changed('bert', (tensors) => tensors.set('bert.encoder.layer.3.output.dense.bias', one));
    assert.match(refusal(surplus, 'bad-checkpoint'), /surplus bert\.encoder\.layer\.3\.output\.dense\.bias/);
    const misshapen = changed('gpt2', (tensors) => tensors.set('transformer.ln_f.bias', one));
    assert.match(refusal(misshapen, 'bad-checkpoint'), /ln_f\.bias has the shape \[1\], expected \[32\]/);
    const transposed = changed('gpt2', (tensors) => {
      const { values } = tensors.get('transformer.h.0.mlp.c_fc.weight')!;
      tensors.set('transformer.h.0.mlp.c_fc.weight', { shape: [128, 32], values });
    });
    assert.match(refusal(transposed, 'bad-checkpoint'), /has the shape \[128, 32\], expected \[32, 128\]/);
    const twice = changed('bert', (tensors) => {
      tensors.set('embeddings.LayerNorm.weight', { shape: [32], values: new Float32Array(32) });
    });
    assert.match(refusal(twice, 'bad-checkpoint'), /embeddings\.LayerNorm\.weight stands there twice/);
    const old = changed('bert', (tensors) => {
      tensors.set('bert.embeddings.LayerNorm.gamma', { shape: [32], values: new Float32Array(32) });
    });
    assert.match(refusal(old, 'bad-checkpoint'), /embeddings\.LayerNorm\.weight stands there twice/);
  });

  it('[MLD-4] ignores buffers, tied copies and heads of other tasks, and takes names without their prefix', () => {
    const one = { shape: [1], values: new Float32Array(1) };
    const bert = changed('bert', (tensors) => {
      for (const name of [
        'bert.embeddings.position_ids',
        'bert.pooler.dense.weight',
        'cls.seq_relationship.bias',
        'classifier.weight',
      ])
        tensors.set(name, one);
    });
    assert.equal(describeFiles(bert).parameterCount, 32_120);
    const gpt2 = changed('gpt2', (tensors) => {
      for (const name of [
        'transformer.h.2.attn.bias',
        'transformer.h.2.attn.masked_bias',
        'lm_head.weight',
        'score.weight',
      ])
        tensors.set(name, one);
    });
    assert.equal(describeFiles(gpt2).parameterCount, describeFiles(fixtureFiles('gpt2')).parameterCount);
    const bare = changed('gpt2', (tensors) => {
      for (const [name, tensor] of Array.from(tensors)) {
        tensors.delete(name);
        tensors.set(name.replace('transformer.', ''), tensor);
      }
    });
    assert.equal(describeFiles(bare).layerCount, 3);
  });

  it('[MLD-5] reads the names of checkpoints that were converted from TensorFlow', () => {
    const files = changed('bert', (tensors) => {
      for (const [name, tensor] of Array.from(tensors)) {
        tensors.delete(name);
        tensors.set(
          name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'),
          tensor,
        );
      }
    });
    assert.equal(describeFiles(files).parameterCount, 32_120);
  });

  it('[MLD-6] refuses settings that it cannot compute, and says which are supported', () => {
    const refused = (family: Family, settings: object) =>
      refusal(changed(family, untouched, settings), 'unsupported-configuration');
    assert.match(refused('bert', { hidden_act: 'relu' }), /hidden_act is "relu", .* expected "gelu" or "gelu_new"/);
    assert.match(
      refused('bert', { position_embedding_type: 'relative_key' }),
      /position_embedding_type is "relative_key"/,
    );
    assert.match(refused('bert', { is_decoder: true }), /is_decoder is true/);
    assert.match(refused('bert', { tie_word_embeddings: false }), /tie_word_embeddings is false/);
    assert.match(refused('gpt2', { activation_function: 'relu' }), /activation_function is "relu"/);
    assert.match(refused('gpt2', { scale_attn_weights: false }), /scale_attn_weights is false/);
    assert.match(refused('gpt2', { scale_attn_by_inverse_layer_idx: true }), /scale_attn_by_inverse_layer_idx is true/);
    assert.match(
      refusal(changed('bert', untouched, { model_type: 'albert' }), 'unsupported-family'),
      /model_type is "albert"; this version reads bert, roberta, distilbert, gpt2, llama, qwen2, qwen3/,
    );
  });

  it('[MLD-7] refuses settings that make no sense, and names the field', () => {
    const refused = (family: Family, settings: object) =>
      refusal(changed(family, untouched, settings), 'bad-configuration');
    assert.match(
      refused('bert', { hidden_size: '32' }),
      /hidden_size must be a whole number of at least 1, found "32"/,
    );
    assert.match(refused('bert', { num_hidden_layers: 0 }), /num_hidden_layers .* found 0/);
    assert.match(refused('bert', { layer_norm_eps: -1 }), /layer_norm_eps must be a number above 0, found -1/);
    assert.match(refused('gpt2', { n_embd: undefined }), /n_embd .* found nothing/);
    assert.match(refused('gpt2', { n_head: 5 }), /5 heads do not divide a width of 32/);
    const twice = fixtureFiles('bert').set('config.json', utf8('{"model_type":"bert","model_type":"gpt2"}'));
    assert.match(refusal(twice, 'bad-json'), /config\.json has the key "model_type" twice/);
    assert.match(refusal(new Map(), 'missing-file'), /needs config\.json; found no file/);
  });

  it('[MLD-8] the digest names settings, tensors and tokenizer, not the order of tensors or the format of the header', () => {
    const digestOf = (files: ReadonlyMap<string, Uint8Array>) => describeFiles(files).digest;
    const original = digestOf(changed('bert', untouched));
    const reordered = changed('bert', (tensors) => {
      const all = [...tensors].reverse();
      tensors.clear();
      for (const [name, tensor] of all) tensors.set(name, tensor);
    });
    assert.equal(digestOf(reordered), original);
    const spaced = fixtureFiles('bert');
    spaced.set('config.json', utf8(`  ${new TextDecoder().decode(spaced.get('config.json'))}\n`));
    assert.equal(digestOf(spaced), original);
    const others = [
      changed('bert', (tensors) => {
        tensors.get('bert.embeddings.LayerNorm.bias')!.values[0]! += 1e-6;
      }),
      changed('bert', (tensors) => tensors.set('bert.pooler.dense.bias', { shape: [1], values: new Float32Array(1) })),
      changed('bert', untouched, { layer_norm_eps: 1e-5 }),
      changed('bert', untouched).set('tokenizer.json', utf8('{}')),
      changed('bert', untouched).set('tokenizer_config.json', utf8('{}')),
    ].map(digestOf);
    assert.equal(new Set([original, ...others]).size, others.length + 1);
  });

  it('[MLD-9] the digest of the base that ships is frozen: plans name it', async () => {
    const { digest, parameterCount } = await describeBase(pretrainedFolder());
    assert.equal(digest, '9abe3a66fc428a9e8b01d7fafa1629014396c634ae4d0b4f1854447f73268487');
    assert.equal(parameterCount, 1_596_160);
  });

  it('[MLD-10] a description costs no tensor, and a base that is disposed of leaves none', async () => {
    await useBackend('cpu');
    const before = memory().numTensors;
    describeFiles(fixtureFiles('bert'));
    assert.equal(memory().numTensors, before);
    for (const family of ['bert', 'gpt2'] as const) {
      const model = networkFrom(fixtureFiles(family));
      assert.ok(memory().numTensors > before);
      model.dispose();
      assert.equal(memory().numTensors, before);
    }
  });
});

describe('readBaseFiles', () => {
  it('[MLD-11] reads the files of a folder and says what a folder without a checkpoint lacks', async () => {
    const files = await readBaseFiles(pretrainedFolder());
    assert.deepEqual(
      [...files.keys()],
      ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
    );
    const folder = new URL('.', import.meta.url).pathname;
    await assert.rejects(
      readBaseFiles(folder),
      /is not a checkpoint folder: expected config\.json, model\.safetensors/,
    );
  });
});
