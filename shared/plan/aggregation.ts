/** The part `aggregation` of a plan: fields, allowed values, defaults, and what no single field shows. */
import * as z from 'zod/mini';
import type { ExchangeSettings } from '../update/federated-layout.ts';
import { declarationOf, lowRankRuleNames } from '../update/low-rank-rules.ts';
import { choiceField, numberField, sectionField, textField, wholeField } from './fields.ts';
import type { Problem } from './problems.ts';
import { crossCheckRobust, type RobustSettings, robustFields } from './robustness.ts';

/** How the deltas of a round become the next adapter. */
export interface Aggregation extends ExchangeSettings, RobustSettings {
  /** What the server does with the mean delta. */
  readonly rule: 'fedavg' | 'fedavgm' | 'fedadagrad' | 'fedadam' | 'fedyogi';
  readonly serverLearningRate: number;
  /** FedAvgM only. */
  readonly momentum: number;
  /** Adaptive rules only, as are `beta2` and `tau` (Reddi 2021, algorithm 2). */
  readonly beta1: number;
  readonly beta2: number;
  readonly tau: number;
}

/** Ranks of one map, columns of one sketch: beyond the width of any base for the edge. */
const rankMax = 65_536;
/** Names of parts: more than any adapter has layers. */
const partsMax = 256;
const partsError = `a list of at most ${partsMax} beginnings of tensor names, such as head or layers.*.attention`;
const parts = () =>
  z._default(
    z
      .array(textField(1024, 'the beginning of a tensor name'), { error: partsError })
      .check(z.refine((list) => list.length <= partsMax, { error: partsError })),
    [],
  );

// Defaults of the adaptive rules: Reddi 2021, section 5 and appendix D (beta1 0.9, beta2 0.99, tau 1e-3).
/** The rules of the server that take a number of its own, with what it is in a plan that leaves it out. */
const serverNumbers = {
  momentum: { preset: 0.9, rules: ['fedavgm'] },
  beta1: { preset: 0.9, rules: ['fedadagrad', 'fedadam', 'fedyogi'] },
  beta2: { preset: 0.99, rules: ['fedadam', 'fedyogi'] },
  tau: { preset: 1e-3, rules: ['fedadagrad', 'fedadam', 'fedyogi'] },
} as const satisfies Partial<Record<keyof Aggregation, { preset: number; rules: readonly Aggregation['rule'][] }>>;

/** The section as a schema. */
export const aggregationSchema = sectionField({
  rule: z._default(choiceField(['fedavg', 'fedavgm', 'fedadagrad', 'fedadam', 'fedyogi']), 'fedavg'),
  weighting: z._default(choiceField(['examples', 'equal', 'given', 'quality']), 'examples'),
  serverLearningRate: z._default(numberField({ above: 0, atMost: 100 }), 1),
  momentum: z._default(numberField({ atLeast: 0, below: 1 }), serverNumbers.momentum.preset),
  beta1: z._default(numberField({ atLeast: 0, below: 1 }), serverNumbers.beta1.preset),
  beta2: z._default(numberField({ atLeast: 0, below: 1 }), serverNumbers.beta2.preset),
  tau: z._default(numberField({ above: 0 }), serverNumbers.tau.preset),
  lowRank: z._default(choiceField(lowRankRuleNames), 'factor-avg'),
  publishedRank: z.optional(wholeField(1, rankMax)),
  sketchSize: z.optional(wholeField(1, rankMax)),
  head: z._default(choiceField(['mean', 'by-label']), 'mean'),
  personal: parts(),
  frozen: parts(),
  ...robustFields,
});

/** Numbers of the server that its rule would not read. */
function crossCheckServer(aggregation: Aggregation): Problem[] {
  const { rule } = aggregation;
  return (Object.keys(serverNumbers) as (keyof typeof serverNumbers)[]).flatMap((field) => {
    const { preset, rules } = serverNumbers[field];
    const found = aggregation[field];
    if (found === preset || (rules as readonly string[]).includes(rule)) return [];
    const sentence = `must be left out with the rule ${rule}, which does not read it, found ${found}; set aggregation.rule to ${rules.join(' or ')} for it`;
    return [{ path: `aggregation.${field}`, sentence }];
  });
}

/** What no single field of the section shows. */
export function crossCheckAggregation(aggregation: Aggregation): Problem[] {
  const { lowRank, publishedRank, sketchSize } = aggregation;
  const problems: Problem[] = [...crossCheckServer(aggregation), ...crossCheckRobust(aggregation)];
  const { publishesRank } = declarationOf(lowRank);
  if (publishedRank !== undefined && !publishesRank) {
    const able = lowRankRuleNames.filter((name) => declarationOf(name).publishesRank).join(', ');
    const sentence = `must be left out with the rule ${lowRank}, which publishes the rank that clients train, found ${publishedRank}; the rules ${able} take it`;
    problems.push({ path: 'aggregation.publishedRank', sentence });
  }
  if ((lowRank === 'stack' || lowRank === 'residual') && publishedRank === undefined) {
    const sentence = `must be given with the rule ${lowRank}: the ranks that may add up before they are cut, such as 8 times the trained rank, found nothing`;
    problems.push({ path: 'aggregation.publishedRank', sentence });
  }
  if (lowRank === 'sketch' && sketchSize === undefined) {
    const sentence = 'must be given with the rule sketch: (clients + 1) times the rank is always exact, found nothing';
    problems.push({ path: 'aggregation.sketchSize', sentence });
  }
  if (lowRank !== 'sketch' && sketchSize !== undefined) {
    problems.push({
      path: 'aggregation.sketchSize',
      sentence: `must be left out with the rule ${lowRank}, found ${sketchSize}; the rule sketch takes it`,
    });
  }
  return problems;
}
