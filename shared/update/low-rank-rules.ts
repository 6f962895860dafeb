/**
 * The rules for low-rank pairs: how clients' changes of a map ΔW = s B A, with A `[rank, in]` and B `[out, rank]`, become one. Each declares what
 * the coordinator has to see, what it costs and what it guarantees; the table in `coordinator/aggregation/README.md` is made from these
 * declarations, and plans, policies and messages read them.
 *
 * r is the rank that clients train, R the sum of the ranks of a round's clients, P the rank that is published, m x n the shape of the map.
 */

/** What one rule needs, costs and guarantees. */
export interface LowRankDeclaration {
  /** In one sentence. */
  readonly summary: string;
  /** `sum`: a weighted sum of updates is enough, so that it works on masked rounds; `single-updates`: every update is read. */
  readonly needs: 'sum' | 'single-updates';
  /** `exact`: the published function moves by the weighted mean of what clients did to it; `biased`: it does not; `personal`: there is no one function. */
  readonly guarantee: 'exact' | 'biased' | 'personal';
  /** When the guarantee holds. */
  readonly holds: string;
  /** Numbers that a client sends per map. */
  readonly uplink: string;
  /** Numbers that a client fetches per map. */
  readonly downlink: string;
  readonly serverTime: string;
  readonly serverMemory: string;
  /** The nearest rule that lets clients of one round train different ranks; null for a rule that does. */
  readonly insteadForMixedRanks: string | null;
  /** The nearest rule that works on masked rounds, where only sums can be read; null for a rule that does. */
  readonly insteadWhenMasked: string | null;
  /** Whether clients go on with the published factors, or begin with fresh ones on top of what was published. */
  readonly start: 'continue' | 'restart';
  /** Whether `publishedRank` may be larger than the trained rank. */
  readonly publishesRank: boolean;
}

const declare = <const Rules extends Readonly<Record<string, LowRankDeclaration>>>(rules: Rules): Rules => rules;

/** The rules by the name that plans give them. */
const lowRankRules = declare({
  'factor-avg': {
    summary: 'A and B are averaged each for itself; the bias of that is measured and reported every round (FedIT).',
    needs: 'sum',
    guarantee: 'biased',
    holds: 'off by Σ p (B − B̄)(A − Ā); measuring that needs single updates',
    uplink: 'r (m + n)',
    downlink: 'r (m + n)',
    serverTime: 'O(R (m + n)), the measure O((m + n) R²), beyond R = 256 O((m + n) R)',
    serverMemory: 'O(r (m + n)), the measure O(R (m + n))',
    insteadForMixedRanks: 'svd',
    insteadWhenMasked: null,
    start: 'continue',
    publishesRank: false,
  },
  'freeze-a': {
    summary: 'A comes from the seed of the plan, is the same for all and never trained; B is averaged (FFA-LoRA).',
    needs: 'sum',
    guarantee: 'exact',
    holds: 'always',
    uplink: 'r m',
    downlink: 'r (m + n)',
    serverTime: 'O(K r m)',
    serverMemory: 'O(r m)',
    insteadForMixedRanks: null,
    insteadWhenMasked: null,
    start: 'continue',
    publishesRank: false,
  },
  'share-a': {
    summary: 'A is averaged, every client keeps a B of its own (FedSA-LoRA); only clients can measure the result.',
    needs: 'sum',
    guarantee: 'personal',
    holds: 'always; a new client begins with B = 0',
    uplink: 'r n',
    downlink: 'r (m + n)',
    serverTime: 'O(K r n)',
    serverMemory: 'O(r n)',
    insteadForMixedRanks: 'freeze-a',
    insteadWhenMasked: null,
    start: 'continue',
    publishesRank: false,
  },
  svd: {
    summary: 'The products are added up and cut to the published rank by their singular values (FlexLoRA).',
    needs: 'single-updates',
    guarantee: 'exact',
    holds: 'up to the energy that the cut discards, which is reported',
    uplink: 'r (m + n)',
    downlink: 'P (m + n)',
    serverTime: 'O((m + n) R² + R³)',
    serverMemory: 'O(R (m + n))',
    insteadForMixedRanks: null,
    insteadWhenMasked: 'sketch',
    start: 'continue',
    publishesRank: true,
  },
  stack: {
    summary:
      'Clients begin with fresh factors on top of what was published, and their factors are stacked onto it (FLoRA).',
    needs: 'single-updates',
    guarantee: 'exact',
    holds: 'until the stack reaches the published rank; then it is cut to it, and what that discards is reported',
    uplink: 'r (m + n)',
    downlink: 'P (m + n)',
    serverTime: 'O(R (m + n)), a cut O((m + n) (P + R)² + (P + R)³)',
    serverMemory: 'O((P + R) (m + n))',
    insteadForMixedRanks: null,
    insteadWhenMasked: 'sketch',
    start: 'restart',
    publishesRank: true,
  },
  residual: {
    summary: 'A and B are averaged, and what that misses is added as frozen factors beside them (FedEx-LoRA).',
    needs: 'single-updates',
    guarantee: 'exact',
    holds: 'until the residual reaches the published rank; then it is cut to it, and what that discards is reported',
    uplink: 'r (m + n)',
    downlink: 'P (m + n)',
    serverTime: 'O(R (m + n)), a cut O((m + n) (P + R)² + (P + R)³)',
    serverMemory: 'O((P + R) (m + n))',
    insteadForMixedRanks: 'svd',
    insteadWhenMasked: 'sketch',
    start: 'continue',
    publishesRank: true,
  },
  dense: {
    summary:
      'Clients send the change of the whole map, which is averaged and cut to the published rank; for small maps.',
    needs: 'sum',
    guarantee: 'exact',
    holds: 'up to the energy that the cut discards, which is reported',
    uplink: 'm n',
    downlink: 'P (m + n)',
    serverTime: 'O(K m n + m n min(m, n, R))',
    serverMemory: 'O(m n)',
    insteadForMixedRanks: null,
    insteadWhenMasked: null,
    start: 'continue',
    publishesRank: true,
  },
  sketch: {
    summary:
      'Clients send two small products of their change with random signs of the round, which determine a sum of low rank.',
    needs: 'sum',
    guarantee: 'exact',
    holds:
      'almost surely while the rank of the sum is at most the sketch size, and up to what the cut discards; both are reported',
    uplink: 'q m + (2 q + 1) n',
    downlink: 'P (m + n)',
    serverTime: 'O((m + n) q²)',
    serverMemory: 'O(q (m + n))',
    insteadForMixedRanks: null,
    insteadWhenMasked: null,
    start: 'continue',
    publishesRank: true,
  },
});

/** Name of a rule for low-rank pairs. */
export type LowRankRule = keyof typeof lowRankRules;

/** The names, in the order of the table. */
export const lowRankRuleNames = Object.keys(lowRankRules) as readonly LowRankRule[];

/** Whether a rule averages factors, frozen or local ones aside, each for itself. */
export function averagesFactors(rule: LowRankRule): boolean {
  return rule === 'factor-avg' || rule === 'freeze-a' || rule === 'share-a';
}

/** The declaration of a rule. */
export function declarationOf(rule: LowRankRule): LowRankDeclaration {
  return lowRankRules[rule];
}
