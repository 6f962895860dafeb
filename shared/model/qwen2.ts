/**
 * Qwen 2 and 2.5 (Yang 2024): a Llama with biases on queries, keys and values; names and order as Transformers has them (`Qwen2Model`,
 * `Qwen2ForCausalLM`).
 */
import { decoder } from './decoder.ts';
import type { Family } from './family.ts';

/** Reads a Qwen 2 configuration. */
export const qwen2: Family = (configuration) =>
  decoder(configuration, {
    family: 'qwen2',
    positionsMax: 32_768,
    biases: ['q', 'k', 'v'],
    hasHeadNorms: false,
  });
