/**
 * Names of the methods that stand by themselves, in the order of the registry: those that need no other adapters in their settings. Here
 * without the methods, so that a list of them costs nothing to load; a test holds it to the registry.
 */
export const soloMethodNames = [
  'none',
  'bottleneck',
  'compacter',
  'lora',
  'dora',
  'vera',
  'ia3',
  'bias',
  'full',
  'prefix',
  'prompt',
  'invertible',
  'hyperformer',
  'mixture',
] as const;
