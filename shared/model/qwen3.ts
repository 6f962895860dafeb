/**
 * Qwen 3, dense (Yang 2025): a Llama with a norm on every head of queries and keys, and heads of a width of their own; names and order as
 * Transformers has them (`Qwen3Model`, `Qwen3ForCausalLM`).
 */
import { booleanField } from './configuration.ts';
import { decoder } from './decoder.ts';
import type { Family } from './family.ts';

/** Reads a Qwen 3 configuration. */
export const qwen3: Family = (configuration) =>
  decoder(configuration, {
    family: 'qwen3',
    headSize: 128,
    positionsMax: 32_768,
    biases: booleanField(configuration, 'attention_bias', false) ? ['q', 'k', 'v', 'o'] : [],
    hasHeadNorms: true,
  });
