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

/** Names of the methods that join others, in the order of the registry. */
export const joiningMethodNames = ['stack', 'fuse', 'average', 'gate', 'split', 'batch-split', 'parallel'] as const;

const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck' }));

/** Settings with which methods that join others show what they do, with two adapters that are new themselves. */
export const joinedExamples: Readonly<Record<(typeof joiningMethodNames)[number], Readonly<Record<string, unknown>>>> =
  {
    stack: { members },
    // Of new members nothing is known yet that a fusion could attend to, so they learn with it.
    fuse: { members: members.map((member) => ({ ...member, frozen: false })) },
    average: { members, learning: 'shared' },
    gate: { members: members.slice(0, 1), penalty: 0.01 },
    split: { members, at: [16] },
    'batch-split': { members },
    parallel: { members },
  };
