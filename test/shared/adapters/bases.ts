/** Descriptions of published bases: layouts and configurations need no weights. */
import { parseDigest } from '../../../shared/core/ids.ts';
import type { BaseDescription, FrozenMap } from '../../../shared/model/base-model.ts';

const map = (inSize: number, outSize: number, moduleName: string) => ({ inSize, outSize, moduleName });

/** A BERT of any size; that of bert-base-uncased by default. */
export function bertLike(layerCount = 12, hiddenSize = 768, feedForwardSize = 3072): BaseDescription {
  return {
    family: 'bert',
    layerCount,
    hiddenSize,
    headCount: Math.max(1, hiddenSize / 64),
    keyValueHeadCount: Math.max(1, hiddenSize / 64),
    headSize: Math.min(hiddenSize, 64),
    feedForwardSize,
    vocabularySize: 30_522,
    positionsMax: 512,
    norm: 'post',
    causal: false,
    hasLanguageModelHead: true,
    linearTargets: {
      q: map(hiddenSize, hiddenSize, 'attention.self.query'),
      k: map(hiddenSize, hiddenSize, 'attention.self.key'),
      v: map(hiddenSize, hiddenSize, 'attention.self.value'),
      o: map(hiddenSize, hiddenSize, 'attention.output.dense'),
      up: map(hiddenSize, feedForwardSize, 'intermediate.dense'),
      down: map(feedForwardSize, hiddenSize, 'output.dense'),
    },
    digest: parseDigest('b1'.repeat(32)),
    tensors: new Map([['embeddings.LayerNorm.weight', [hiddenSize]]]),
    parameterCount: 109_482_240,
  };
}

/** A GPT-2 of any size; that of the smallest published one by default. */
export function gpt2Like(layerCount = 12, hiddenSize = 768): BaseDescription {
  return {
    family: 'gpt2',
    layerCount,
    hiddenSize,
    headCount: Math.max(1, hiddenSize / 64),
    keyValueHeadCount: Math.max(1, hiddenSize / 64),
    headSize: Math.min(hiddenSize, 64),
    feedForwardSize: 4 * hiddenSize,
    vocabularySize: 50_257,
    positionsMax: 1024,
    norm: 'pre',
    causal: true,
    hasLanguageModelHead: true,
    linearTargets: {
      q: map(hiddenSize, hiddenSize, 'attn.c_attn'),
      k: map(hiddenSize, hiddenSize, 'attn.c_attn'),
      v: map(hiddenSize, hiddenSize, 'attn.c_attn'),
      qkv: map(hiddenSize, 3 * hiddenSize, 'attn.c_attn'),
      o: map(hiddenSize, hiddenSize, 'attn.c_proj'),
      up: map(hiddenSize, 4 * hiddenSize, 'mlp.c_fc'),
      down: map(4 * hiddenSize, hiddenSize, 'mlp.c_proj'),
    },
    digest: parseDigest('92'.repeat(32)),
    tensors: new Map([['ln_f.weight', [hiddenSize]]]),
    parameterCount: 124_439_808,
  };
}

/** The frozen map of a site for methods that need its input and output alone: whoever uses it fails. */
export const unusedMap: FrozenMap = {
  apply: () => {
    throw new Error('the frozen map was run');
  },
  kernel: () => {
    throw new Error('the frozen weight was read');
  },
  bias: () => {
    throw new Error('the frozen bias was read');
  },
};
