import { strict as assert } from 'node:assert';
import { tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { utf8 } from '../../../shared/core/bytes.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Configuration } from '../../../shared/model/configuration.ts';
import { readModel } from '../../../shared/model/family.ts';
import { describeFiles, networkFrom } from '../../../shared/model/load.ts';
import { writeSafetensors } from '../../../shared/model/safetensors.ts';
import { type Tensors, tensorsOf } from './checkpoint-files.ts';
import { fixtureBatch, fixtureBytes, fixtureFiles, largestError } from './fixtures.ts';

type Files = ReadonlyMap<string, Uint8Array>;

/** A fixture with changed settings and tensors; a setting that is `undefined` is left out. */
function changed(name: string, settings: object, change: (tensors: Tensors) => void = () => {}): Files {
  const configuration = JSON.parse(new TextDecoder().decode(fixtureBytes(name, 'config.json'))) as object;
  const files = fixtureFiles(name);
  const tensors = tensorsOf(files);
  change(tensors);
  return files
    .set('config.json', utf8(JSON.stringify({ ...configuration, ...settings })))
    .set('model.safetensors', writeSafetensors(tensors));
}

function scoresOf(files: Files, name: string): Float32Array {
  const model = networkFrom(files);
  const scores = tidy(() => model.languageModelScores(model.encode(fixtureBatch(name))).dataSync() as Float32Array);
  model.dispose();
  return scores;
}

function refusal(name: string, settings: object): string {
  try {
    describeFiles(changed(name, settings));
  } catch (thrown) {
    assert.ok(thrown instanceof FederationError && thrown.code.endsWith('configuration'), String(thrown));
    return thrown.message;
  }
  assert.fail(`${name} with ${JSON.stringify(settings)} was accepted`);
}

const decoders = ['llama_gqa', 'qwen2', 'qwen3'] as const;

describe('settings of families', () => {
  before(() => useBackend('wasm'));

  it('[FAM-2] say sizes, heads and the names of linear maps', () => {
    const { linearTargets, digest, tensors, ...qwen3 } = describeFiles(fixtureFiles('qwen3'));
    assert.equal(digest.length, 64);
    assert.deepEqual(tensors.get('layers.0.self_attn.q_proj.weight'), [32, 64]);
    assert.deepEqual(tensors.get('embed_tokens.weight'), [120, 32]);
    assert.deepEqual(qwen3, {
      family: 'qwen3',
      layerCount: 2,
      hiddenSize: 32,
      headCount: 4,
      keyValueHeadCount: 2,
      headSize: 16,
      feedForwardSize: 48,
      vocabularySize: 120,
      positionsMax: 64,
      norm: 'pre',
      causal: true,
      hasLanguageModelHead: true,
      parameterCount: 120 * 32 + 32 + 2 * (2 * 32 * 64 + 2 * 32 * 32 + 2 * 16 + 3 * 32 * 48 + 2 * 32),
    });
    assert.deepEqual(Object.keys(linearTargets), ['q', 'k', 'v', 'o', 'gate', 'up', 'down']);
    assert.deepEqual(linearTargets.q, { inSize: 32, outSize: 64, moduleName: 'self_attn.q_proj' });
    assert.deepEqual(linearTargets.v, { inSize: 32, outSize: 32, moduleName: 'self_attn.v_proj' });
    assert.deepEqual(linearTargets.gate, { inSize: 32, outSize: 48, moduleName: 'mlp.gate_proj' });
    // The two rows of padding and before it are no positions.
    assert.equal(describeFiles(fixtureFiles('roberta')).positionsMax, 40);
    const distilbert = describeFiles(fixtureFiles('distilbert'));
    assert.equal(distilbert.positionsMax, 40);
    assert.equal(distilbert.linearTargets.up?.moduleName, 'ffn.lin1');
  });

  it('[FAM-3] that cannot be computed are refused by name', () => {
    for (const name of decoders) {
      assert.match(refusal(name, { use_sliding_window: true }), /use_sliding_window is true/);
      assert.match(refusal(name, { hidden_act: 'gelu' }), /hidden_act is "gelu".* expected "silu"/);
      assert.match(refusal(name, { partial_rotary_factor: 0.5 }), /partial_rotary_factor is 0\.5/);
      for (const rope_type of ['yarn', 'dynamic', 'longrope', 'linear']) {
        const message = refusal(name, { rope_scaling: { rope_type, factor: 4 } });
        assert.match(
          message,
          new RegExp(`rope_scaling\\.rope_type is "${rope_type}".* expected "default" or "llama3"`),
        );
      }
      assert.match(refusal(name, { rope_scaling: { type: 'yarn' } }), /rope_type is "yarn"/);
      assert.match(
        refusal(name, { layer_types: ['full_attention', 'sliding_attention'] }),
        /layer_types\[1\] is "sliding_attention"/,
      );
    }
    assert.match(refusal('llama_gqa', { pretraining_tp: 2 }), /pretraining_tp is 2/);
    assert.match(refusal('llama_gqa', { rope_interleaved: true }), /rope_interleaved is true/);
    assert.match(refusal('roberta', { position_embedding_type: 'relative_key' }), /position_embedding_type/);
    assert.match(refusal('distilbert', { activation: 'relu' }), /activation is "relu"/);
    assert.match(refusal('distilbert', { tie_word_embeddings: false }), /tie_word_embeddings is false/);
  });

  it('[FAM-4] that make no sense are refused by name', () => {
    assert.match(refusal('llama_gqa', { num_key_value_heads: 3 }), /num_key_value_heads is 3, .* divide 4 heads/);
    assert.match(refusal('llama_gqa', { head_dim: 7 }), /7 wide; rotary positions need an even width/);
    assert.match(refusal('llama_gqa', { num_attention_heads: 5, num_key_value_heads: 5 }), /head_dim must be a whole/);
    assert.match(refusal('qwen3', { attention_bias: 'yes' }), /attention_bias must be true or false, found "yes"/);
    assert.match(refusal('llama_gqa', { rope_scaling: 4 }), /rope_scaling must be an object, found 4/);
    assert.match(refusal('llama_gqa', { rope_theta: -1 }), /rope_theta must be a number above 0/);
    const stretch = { rope_type: 'llama3', factor: 8 };
    assert.match(refusal('llama_gqa', { rope_scaling: stretch }), /original_max_position_embeddings/);
    assert.match(refusal('roberta', { pad_token_id: -1 }), /pad_token_id must be a whole number of at least 0/);
  });

  it('[FAM-5] of rotations may stand in one section, as newer configurations have them', () => {
    const { rope_scaling, rope_theta } = JSON.parse(
      new TextDecoder().decode(fixtureBytes('llama3_scaled_rope', 'config.json')),
    ) as { rope_scaling: object; rope_theta: number };
    const section = { ...rope_scaling, rope_theta };
    const newer = changed('llama3_scaled_rope', {
      rope_scaling: undefined,
      rope_theta: undefined,
      rope_parameters: section,
    });
    const older = scoresOf(fixtureFiles('llama3_scaled_rope'), 'llama3_scaled_rope');
    assert.equal(largestError(scoresOf(newer, 'llama3_scaled_rope'), older), 0);
    const unscaled = changed('llama3_scaled_rope', { rope_scaling: null });
    assert.ok(largestError(scoresOf(unscaled, 'llama3_scaled_rope'), older) > 1e-3);
    const typed = changed('llama3_scaled_rope', {
      rope_scaling: { ...rope_scaling, rope_type: undefined, type: 'llama3' },
    });
    assert.equal(largestError(scoresOf(typed, 'llama3_scaled_rope'), older), 0);
  });

  it('[FAM-6] with biases read them, and a bias that is missing or surplus is named', () => {
    const random = seededRandom(3);
    const withBiases = (tensors: Tensors) => {
      for (const [name, { shape }] of [...tensors]) {
        if (!name.endsWith('_proj.weight')) continue;
        const values = Float32Array.from({ length: shape[0]! }, () => random.normal());
        tensors.set(name.replace('weight', 'bias'), { shape: [shape[0]!], values });
      }
    };
    const settings = { attention_bias: true, mlp_bias: true };
    const biased = changed('llama_gqa', settings, withBiases);
    assert.ok(largestError(scoresOf(biased, 'llama_gqa'), scoresOf(fixtureFiles('llama_gqa'), 'llama_gqa')) > 1e-2);
    assert.throws(() => networkFrom(changed('llama_gqa', settings)), /missing layers\.0\.self_attn\.q_proj\.bias/);
    assert.throws(
      () => networkFrom(changed('llama_gqa', { attention_bias: true }, withBiases)),
      /surplus model\.layers\.0\.mlp\.down_proj\.bias/,
    );
  });

  it('[FAM-7] decide whether the output matrix is the word embedding; a bare decoder has no scores', () => {
    const copied = changed('llama_gqa', { tie_word_embeddings: false }, (tensors) => {
      tensors.set('lm_head.weight', tensors.get('model.embed_tokens.weight')!);
    });
    const tied = scoresOf(fixtureFiles('llama_gqa'), 'llama_gqa');
    assert.ok(largestError(scoresOf(copied, 'llama_gqa'), tied) < 1e-5);
    const both = changed('llama_gqa', {}, (tensors) => {
      tensors.set('lm_head.weight', tensors.get('model.embed_tokens.weight')!);
    });
    assert.ok(largestError(scoresOf(both, 'llama_gqa'), tied) === 0);
    const bare = changed('llama_gqa', { tie_word_embeddings: false });
    assert.throws(() => scoresOf(bare, 'llama_gqa'), /a bare decoder: it has no lm_head\.weight/);
  });

  it('[FAM-8] of published models are read, and come to their published numbers of parameters', () => {
    const rotary = { model_type: 'llama', hidden_act: 'silu', rms_norm_eps: 1e-5, rope_scaling: null };
    const bertSizes = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 };
    const published: readonly (readonly [string, number, Configuration])[] = [
      [
        'bert-base-uncased',
        108_891_648,
        {
          ...bertSizes,
          model_type: 'bert',
          vocab_size: 30_522,
          max_position_embeddings: 512,
          type_vocab_size: 2,
          pad_token_id: 0,
        },
      ],
      [
        'roberta-base',
        124_055_040,
        {
          ...bertSizes,
          model_type: 'roberta',
          vocab_size: 50_265,
          max_position_embeddings: 514,
          type_vocab_size: 1,
          pad_token_id: 1,
          layer_norm_eps: 1e-5,
        },
      ],
      [
        'distilbert-base-uncased',
        66_362_880,
        {
          model_type: 'distilbert',
          dim: 768,
          hidden_dim: 3072,
          n_layers: 6,
          n_heads: 12,
          vocab_size: 30_522,
          max_position_embeddings: 512,
          sinusoidal_pos_embds: false,
          tie_weights_: true,
        },
      ],
      [
        'gpt2',
        124_439_808,
        {
          model_type: 'gpt2',
          n_embd: 768,
          n_layer: 12,
          n_head: 12,
          n_positions: 1024,
          n_ctx: 1024,
          vocab_size: 50_257,
        },
      ],
      [
        'TinyLlama-1.1B',
        1_100_048_384,
        {
          ...rotary,
          hidden_size: 2048,
          intermediate_size: 5632,
          num_hidden_layers: 22,
          num_attention_heads: 32,
          num_key_value_heads: 4,
          vocab_size: 32_000,
          max_position_embeddings: 2048,
          pretraining_tp: 1,
          tie_word_embeddings: false,
        },
      ],
      [
        'Llama-3.2-1B',
        1_235_814_400,
        {
          ...rotary,
          hidden_size: 2048,
          intermediate_size: 8192,
          num_hidden_layers: 16,
          num_attention_heads: 32,
          num_key_value_heads: 8,
          head_dim: 64,
          vocab_size: 128_256,
          max_position_embeddings: 131_072,
          attention_bias: false,
          mlp_bias: false,
          rope_theta: 500_000,
          rope_scaling: {
            factor: 32,
            high_freq_factor: 4,
            low_freq_factor: 1,
            original_max_position_embeddings: 8192,
            rope_type: 'llama3',
          },
          tie_word_embeddings: true,
        },
      ],
      [
        'Qwen2.5-0.5B',
        494_032_768,
        {
          ...rotary,
          model_type: 'qwen2',
          hidden_size: 896,
          intermediate_size: 4864,
          num_hidden_layers: 24,
          num_attention_heads: 14,
          num_key_value_heads: 2,
          vocab_size: 151_936,
          max_position_embeddings: 32_768,
          max_window_layers: 24,
          sliding_window: 32_768,
          use_sliding_window: false,
          use_mrope: false,
          rope_theta: 1_000_000,
          tie_word_embeddings: true,
        },
      ],
      [
        'Qwen3-0.6B',
        596_049_920,
        {
          ...rotary,
          model_type: 'qwen3',
          hidden_size: 1024,
          head_dim: 128,
          intermediate_size: 3072,
          num_hidden_layers: 28,
          num_attention_heads: 16,
          num_key_value_heads: 8,
          vocab_size: 151_936,
          max_position_embeddings: 40_960,
          max_window_layers: 28,
          sliding_window: null,
          use_sliding_window: false,
          attention_bias: false,
          rope_theta: 1_000_000,
          tie_word_embeddings: true,
        },
      ],
    ];
    for (const [name, parameterCount, configuration] of published) {
      const { needs } = readModel(configuration).checkpoint;
      const body = needs.filter(({ optionalGroup }) => optionalGroup !== 'head');
      const found = body.reduce((total, { shape }) => total + shape.reduce((size, extent) => size * extent, 1), 0);
      assert.equal(found, parameterCount, name);
    }
  });
});
