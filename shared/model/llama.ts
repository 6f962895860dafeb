/**
 * Llama 1 to 3 (Touvron 2023, Dubey 2024); names and order as Transformers has them (`LlamaModel`, `LlamaForCausalLM`).
 */
import { booleanField, supportedField } from './configuration.ts';
import { decoder } from './decoder.ts';
import type { Family } from './family.ts';

/** Reads a Llama configuration. */
export const llama: Family = (configuration) => {
  supportedField(configuration, 'pretraining_tp', [1], 1);
  supportedField(configuration, 'rope_interleaved', [false], false);
  return decoder(configuration, {
    family: 'llama',
    positionsMax: 2048,
    biases: [
      ...(booleanField(configuration, 'attention_bias', false) ? (['q', 'k', 'v', 'o'] as const) : []),
      ...(booleanField(configuration, 'mlp_bias', false) ? (['gate', 'up', 'down'] as const) : []),
    ],
    hasHeadNorms: false,
  });
};
