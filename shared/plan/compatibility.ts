/**
 * What can be combined: robust rules, masked rounds, differential privacy, rules for low-rank pairs. Everything follows from what the rules
 * declare; the table in the documentation is printed from the same function that refuses plans.
 */
import { declarationOf, type LowRankRule, lowRankRuleNames } from '../update/low-rank-rules.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../update/robust-rules.ts';
import type { Problem } from './problems.ts';

/** One combination. */
export interface Combination {
  readonly robust: RobustRuleName;
  /** What the coordinator sees: single updates, the sum of a masked round, or the sums of its groups. */
  readonly sight: 'updates' | 'sum' | 'group-sums';
  readonly privacy: 'none' | 'central' | 'distributed' | 'record';
  readonly lowRank: LowRankRule;
  readonly weighting: 'examples' | 'equal' | 'given' | 'quality';
  /** Whether the plan names rows from which the coordinator makes a step of its own. */
  readonly root: boolean;
  /** Whether heads are averaged by label, which weighs by counts. */
  readonly byLabel: boolean;
}

/** Why a combination cannot be: the field to change, the reason, and the nearest that works. */
export function conflictOf({ robust, sight, privacy, lowRank, weighting, byLabel, root }: Combination): Problem | null {
  const masked = sight !== 'updates';
  const { needs, needsRoot } = robustDeclarationOf(robust);
  const linear = declarationOf(lowRank);
  const problem = (path: string, sentence: string): Problem => ({ path, sentence });
  if (needsRoot && !root)
    return problem(
      'aggregation.root',
      `must be given with the rule ${robust}, which compares updates with a step of the coordinator on clean rows; without such rows centred-clip is the nearest`,
    );
  if (root && !needsRoot)
    return problem(
      'aggregation.root',
      `must be left out with the robust rule ${robust}, which makes no step of its own`,
    );
  if (sight === 'sum' && needs !== 'sum') {
    const nearest = `with secureAggregation.groupSize, 10 for example, ${robust} works on the sums of groups`;
    const others =
      'secureAggregation.clipNorm alone bounds every client; with secureAggregation.mode off the coordinator can read every single delta';
    return problem(
      'secureAggregation.groupSize',
      `must be given with the robust rule ${robust}, which looks at several vectors where a masked round shows one: ${nearest}; ${others}`,
    );
  }
  if (masked && robust === 'norm-clip')
    return problem(
      'aggregation.robust',
      'must be none with masked rounds, where clients keep to the norm themselves: set secureAggregation.clipNorm',
    );
  if (robust !== 'none' && linear.needs !== 'sum')
    return problem(
      'aggregation.lowRank',
      `must be a rule that works on sums beside the robust rule ${robust}: ${lowRank} reads single updates; ${linear.insteadWhenMasked ?? 'dense'} is the nearest`,
    );
  if (robust !== 'none' && weighting !== 'equal')
    return problem(
      'aggregation.weighting',
      `must be equal with the robust rule ${robust}: hostile clients say what they like about themselves`,
    );
  if (robust !== 'none' && byLabel)
    return problem(
      'aggregation.head',
      `must be mean with the robust rule ${robust}: counts by label are what clients say of themselves`,
    );
  if (privacy === 'none' || privacy === 'record') return null;
  if (robust !== 'none')
    return problem(
      'aggregation.robust',
      `must be none with privacy of clients, which clips every update already: what one client can change of ${robust} is not bounded by that`,
    );
  if (privacy === 'distributed' && !masked)
    return problem(
      'privacy.mechanism',
      'must be central without masked rounds: distributed noise is added inside a masked sum; set secureAggregation.mode to on for it',
    );
  if (privacy === 'central' && masked)
    return problem(
      'privacy.mechanism',
      'must be distributed with masked rounds, where clients add the noise inside the sum; central needs secureAggregation.mode off',
    );
  if (linear.needs !== 'sum')
    return problem(
      'aggregation.lowRank',
      `must be a rule that works on sums with privacy of clients: ${lowRank} reads single updates; ${linear.insteadWhenMasked ?? 'dense'} is the nearest`,
    );
  if (weighting !== 'equal')
    return problem(
      'aggregation.weighting',
      'must be equal with privacy of clients: a weight would be a release of its own',
    );
  if (byLabel)
    return problem(
      'aggregation.head',
      'must be mean with privacy of clients: counts by label would need noise of their own',
    );
  return null;
}

const sightNames = { updates: 'readable', sum: 'masked', 'group-sums': 'masked in groups' } as const;
const privacies = ['none', 'record', 'central', 'distributed'] as const;

/** The table in Markdown: what each robust rule, and each rule for low-rank pairs, can be combined with. */
export function compatibilityTable(): string {
  const columns = (['updates', 'sum', 'group-sums'] as const).flatMap((sight) =>
    privacies.map((privacy) => ({ sight, privacy })),
  );
  const head = columns.map(
    ({ sight, privacy }) => `${sightNames[sight]}, ${privacy === 'none' ? 'no noise' : privacy}`,
  );
  const mark = (combination: Combination): string => (conflictOf(combination) === null ? 'yes' : 'no');
  const base = { weighting: 'equal', byLabel: false, root: false } as const;
  const robustLines = robustRuleNames.map((robust) =>
    [
      robust,
      ...columns.map((column) =>
        mark({ ...base, ...column, robust, lowRank: 'freeze-a', root: robustDeclarationOf(robust).needsRoot }),
      ),
    ].join(' | '),
  );
  const lowRankLines = lowRankRuleNames.flatMap((lowRank) => {
    const cells = columns.map((column) => {
      const masked = column.sight !== 'updates' && declarationOf(lowRank).insteadWhenMasked !== null;
      return masked ? 'no' : mark({ ...base, ...column, robust: 'none', lowRank });
    });
    return [[`none, ${lowRank}`, ...cells].join(' | ')];
  });
  const rule = ['---', ...head.map(() => '---')].join(' | ');
  return [['robust rule, low-rank rule', ...head].join(' | '), rule, ...robustLines, ...lowRankLines]
    .map((line) => `| ${line} |`)
    .join('\n');
}
