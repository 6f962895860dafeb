/** A part of the suite in which every family of kernels occurs, for back ends that compute it slowly: graphics cards in software. */

/** Names of the cases. */
export const representativeCases: ReadonlySet<string> = new Set([
  'bert/pfeiffer_gelu_scaled',
  'bert/lora_all',
  'bert/prefix',
  'bert/compacter',
  'bert/fusion3',
  'gpt2/base',
  'llama_gqa',
  'qwen3',
  'peft_bert_dora',
  'hyperformer',
  'switch_router',
]);

/** A part of these that reads no value while a gradient is recorded, which a browser's WebGPU can do with a graphics card only. */
export const asynchronousCases: ReadonlySet<string> = new Set([
  'bert/pfeiffer_gelu_scaled',
  'bert/lora_all',
  'bert/prefix',
  'bert/fusion3',
  'gpt2/base',
  'llama_gqa',
]);
