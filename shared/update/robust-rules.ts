/**
 * The rules that hold against some clients who send what they like: what each has to see, with how few updates it refuses to answer, and what it
 * costs. Plans, the compatibility table and messages read these declarations; how they compute stands in `coordinator/aggregation/robust`.
 *
 * n is the number of vectors that a rule is given (single updates, buckets of them, or means of masked groups), f how many of them may be hostile,
 * d their length.
 */

/** What one rule needs, and when it answers. */
export interface RobustDeclaration {
  /** In one sentence. */
  readonly summary: string;
  /**
   * `sum`: a sum of updates is enough, the bound is kept by clients; `group-sums`: the rule looks at several vectors, be they single updates or the
   * means of groups whose members are masked.
   */
  readonly needs: 'sum' | 'group-sums';
  /** Fewest vectors with which it answers where f may be hostile; with fewer the round is void. */
  readonly countMin: (hostileMax: number) => number;
  /** The same in words. */
  readonly condition: string;
  /** Whether it needs the update that the coordinator itself makes from public rows. */
  readonly needsRoot: boolean;
  /** Time of the coordinator. */
  readonly cost: string;
}

const declare = <const Rules extends Readonly<Record<string, RobustDeclaration>>>(rules: Rules): Rules => rules;

/** The rules by the name that plans give them. */
const robustRules = declare({
  none: {
    summary: 'The mean: one hostile client can move it anywhere.',
    needs: 'sum',
    countMin: () => 1,
    condition: 'none; holds against nobody',
    needsRoot: false,
    cost: 'O(n d)',
  },
  'norm-clip': {
    summary: 'Longer updates are cut to a norm, so that one client moves the mean by at most that norm over n.',
    needs: 'sum',
    countMin: () => 1,
    condition: 'none; bounds what each can do, and does not find who is hostile',
    needsRoot: false,
    cost: 'O(n d)',
  },
  median: {
    summary: 'The median of every coordinate (Yin 2018).',
    needs: 'group-sums',
    countMin: (f) => 2 * f + 1,
    condition: 'n >= 2f + 1',
    needsRoot: false,
    cost: 'O(n log n d)',
  },
  'trimmed-mean': {
    summary: 'The mean of every coordinate without its f lowest and f highest values (Yin 2018).',
    needs: 'group-sums',
    countMin: (f) => 2 * f + 1,
    condition: 'n >= 2f + 1',
    needsRoot: false,
    cost: 'O(n log n d)',
  },
  'geometric-median': {
    summary: 'The point with the least sum of distances, by smoothed Weiszfeld steps (Pillutla 2022).',
    needs: 'group-sums',
    countMin: (f) => 2 * f + 1,
    condition: 'n >= 2f + 1',
    needsRoot: false,
    cost: 'O(n² d)',
  },
  'centred-clip': {
    summary: 'Differences from the step before are cut to a radius, then averaged (Karimireddy 2021).',
    needs: 'group-sums',
    countMin: (f) => Math.max(2 * f + 1, 10 * f),
    condition: 'n >= 10f',
    needsRoot: false,
    cost: 'O(n² d)',
  },
  krum: {
    summary: 'The one vector that is closest to its n − f − 2 nearest (Blanchard 2017).',
    needs: 'group-sums',
    countMin: (f) => 2 * f + 3,
    condition: 'n >= 2f + 3',
    needsRoot: false,
    cost: 'O(n² d)',
  },
  'multi-krum': {
    summary: 'The mean of the n − f − 2 vectors that are closest to their nearest (Blanchard 2017).',
    needs: 'group-sums',
    countMin: (f) => 2 * f + 3,
    condition: 'n >= 2f + 3',
    needsRoot: false,
    cost: 'O(n² d)',
  },
  bulyan: {
    summary:
      'n − 2f vectors by repeated Krum, then of every coordinate the mean of those nearest to the median (El Mhamdi 2018).',
    needs: 'group-sums',
    countMin: (f) => 4 * f + 3,
    condition: 'n >= 4f + 3',
    needsRoot: false,
    cost: 'O(n² d + n³)',
  },
  fltrust: {
    summary: "Updates count as far as they point where the coordinator's own points, at its length (Cao 2021).",
    needs: 'group-sums',
    countMin: () => 1,
    condition: 'any n, as long as the coordinator has clean public rows',
    needsRoot: true,
    cost: 'O(n d)',
  },
});

/** The name of a robust rule. */
export type RobustRuleName = keyof typeof robustRules;

/** All names, for schemas and messages. */
export const robustRuleNames = Object.keys(robustRules) as readonly RobustRuleName[];

/** What a rule declares. */
export function robustDeclarationOf(name: RobustRuleName): RobustDeclaration {
  return robustRules[name];
}
