/**
 * What can be combined: robust rules, masked rounds, differential privacy, rules for low-rank pairs, weights, heads by label. Everything follows
 * from what the rules declare; the table in the documentation is printed from the same function that refuses plans, and what it names as nearest
 * is a combination, too, which a test makes a plan of.
 */
import { assert } from '../core/assert.ts';
import { groupSizeMin } from '../secure-aggregation/threshold.ts';
import { averagesFactors, declarationOf, type LowRankRule, lowRankRuleNames } from '../update/low-rank-rules.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../update/robust-rules.ts';
import type { Problem } from './problems.ts';

/** One combination. */
export interface Combination {
  readonly robust: RobustRuleName;
  /** f of the robust rule. */
  readonly hostileMax: number;
  /** What the coordinator sees: single updates, the sum of a masked round, or the sums of its groups. */
  readonly sight: 'updates' | 'sum' | 'group-sums';
  /** Updates that every published round has, and least members of a group where there are groups. */
  readonly quorum: number;
  readonly groupSize: number | null;
  readonly privacy: 'none' | 'central' | 'distributed' | 'record';
  readonly lowRank: LowRankRule;
  readonly weighting: 'examples' | 'equal' | 'given' | 'quality';
  /** Whether the plan names rows from which the coordinator makes a step of its own. */
  readonly root: boolean;
  /** Whether heads are averaged by label, which weighs by counts. */
  readonly byLabel: boolean;
}

/** Why a combination cannot be, the field to change, and what it is once that is changed: nearer to one that works, or one that does. */
export interface Conflict extends Problem {
  readonly nearest: Combination;
}

/** Members of the groups that a message proposes, where there are clients enough: a bad one spoils no more than its group. */
const groupSizeProposed = 10;

/** The first reason why a combination cannot be; null for one that can. */
export function conflictOf(combination: Combination): Conflict | null {
  const { robust, sight, privacy, root } = combination;
  const { needs, needsRoot } = robustDeclarationOf(robust);
  const conflict = (path: string, change: Partial<Combination>, sentence: string): Conflict => {
    return { path, sentence, nearest: { ...combination, ...change } };
  };
  if (robust !== 'none' && (privacy === 'central' || privacy === 'distributed'))
    return conflict(
      'aggregation.robust',
      { robust: 'none', root: false },
      `must be none with privacy of clients, whose noise is made for the sum of clipped updates, found ${robust}: what one client can change of its answer is not bounded by that`,
    );
  if (needsRoot && !root) return withoutRoot(combination, conflict);
  if (root && !needsRoot)
    return conflict(
      'aggregation.root',
      { root: false },
      `must be left out with the robust rule ${robust}, which makes no step of its own`,
    );
  if (sight === 'sum' && needs !== 'sum') return withoutGroups(combination, conflict);
  if (sight !== 'updates' && robust === 'norm-clip')
    return conflict(
      'aggregation.robust',
      { robust: 'none' },
      'must be none with masked rounds, where clients keep to the norm themselves, found norm-clip: set secureAggregation.clipNorm',
    );
  return (
    singleUpdatesConflict(combination, conflict) ??
    saidOfThemselvesConflict(combination, conflict) ??
    mechanismConflict(combination, conflict)
  );
}

type MakeConflict = (path: string, change: Partial<Combination>, sentence: string) => Conflict;

/** A rule that compares with a step of the coordinator, which has no rows for one. */
function withoutRoot({ robust, sight, quorum, groupSize, hostileMax }: Combination, conflict: MakeConflict): Conflict {
  const vectorCount = Math.floor(quorum / (sight === 'updates' ? 1 : (groupSize ?? groupSizeMin)));
  const bound = sight === 'updates' ? 'norm-clip' : 'none';
  const nearest = vectorCount >= robustDeclarationOf('median').countMin(hostileMax) ? 'median' : bound;
  const set = { median: '', none: ' with secureAggregation.clipNorm', 'norm-clip': ' with aggregation.robustNorm' };
  return conflict(
    'aggregation.root',
    { robust: nearest },
    `must be given with the robust rule ${robust}, which compares updates with a step of the coordinator on clean rows; without such rows aggregation.robust ${nearest}${set[nearest]} is the nearest`,
  );
}

/** A rule over several vectors where a masked round shows one: groups where there are clients enough for them, else the norm alone. */
function withoutGroups({ robust, quorum, hostileMax }: Combination, conflict: MakeConflict): Conflict {
  const { countMin, condition } = robustDeclarationOf(robust);
  const groupCount = countMin(hostileMax);
  const groupSize = Math.min(groupSizeProposed, Math.floor(quorum / groupCount));
  const why = `${robust} looks at several vectors where a masked round shows one`;
  if (groupSize >= groupSizeMin)
    return conflict(
      'secureAggregation.groupSize',
      { sight: 'group-sums', groupSize },
      `must be given, ${groupSize} for example: ${why}; with groups it works on their sums`,
    );
  const most = `${groupCount} groups (${condition}) of at least ${groupSizeMin} clients are more than the ${quorum} of rounds.quorum`;
  const others = 'with secureAggregation.mode off the rule works, and the coordinator can read every single delta';
  return conflict(
    'aggregation.robust',
    { robust: 'none', root: false },
    `must be none, found ${robust}: ${why}, and ${most}; secureAggregation.clipNorm alone, which bounds what each client can do, is the nearest; ${others}`,
  );
}

/** A rule for low-rank pairs that reads single updates where only sums can be had, or that carries no weights of sites. */
function singleUpdatesConflict(
  { robust, sight, privacy, lowRank, weighting }: Combination,
  conflict: MakeConflict,
): Conflict | null {
  const instead = declarationOf(lowRank).insteadWhenMasked;
  const needsSums =
    sight !== 'updates'
      ? 'masked rounds hide'
      : robust !== 'none'
        ? `the robust rule ${robust} does not leave`
        : privacy === 'central' || privacy === 'distributed'
          ? 'privacy of clients does not leave'
          : null;
  if (instead !== null && needsSums !== null)
    return conflict(
      'aggregation.lowRank',
      { lowRank: instead as LowRankRule },
      `must be another rule: the rule ${lowRank} reads single updates, which ${needsSums}; ${instead} with aggregation.sketchSize is the nearest that works on sums`,
    );
  if ((weighting === 'given' || weighting === 'quality') && !averagesFactors(lowRank))
    return conflict(
      'aggregation.weighting',
      { weighting: 'examples' },
      `must be examples or equal with the rule ${lowRank}, found ${weighting}; with freeze-a sites may weigh themselves`,
    );
  return null;
}

/** What clients say of themselves where nobody believes it, or where it would be a release of its own. */
function saidOfThemselvesConflict(
  { robust, privacy, weighting, byLabel }: Combination,
  conflict: MakeConflict,
): Conflict | null {
  const equal = (reason: string): Conflict =>
    conflict('aggregation.weighting', { weighting: 'equal' }, `must be equal with ${reason}, found ${weighting}`);
  const mean = (reason: string): Conflict =>
    conflict('aggregation.head', { byLabel: false }, `must be mean with ${reason}, found by-label`);
  if (robust !== 'none') {
    const rule = `the robust rule ${robust}`;
    if (weighting !== 'equal') return equal(`${rule}: hostile clients say what they like about themselves`);
    if (byLabel) return mean(`${rule}: counts by label are what clients say of themselves`);
  }
  if (privacy === 'record') {
    const records = 'privacy of records';
    if (weighting === 'quality')
      return conflict(
        'aggregation.weighting',
        { weighting: 'examples' },
        `must be examples, equal or given with ${records}: the accuracy on rows of a site would leave it without noise, found quality`,
      );
    if (byLabel) return mean(`${records}: which labels a site has would leave it without noise`);
  }
  if (privacy === 'central' || privacy === 'distributed') {
    const clients = 'privacy of clients';
    if (weighting !== 'equal') return equal(`${clients}: a weight would be a release of its own`);
    if (byLabel) return mean(`${clients}: counts by label would need noise of their own`);
  }
  return null;
}

/** Noise that is added where it cannot be. */
function mechanismConflict({ sight, privacy }: Combination, conflict: MakeConflict): Conflict | null {
  if (privacy === 'distributed' && sight === 'updates')
    return conflict(
      'privacy.mechanism',
      { privacy: 'central' },
      'must be central without masked rounds, found distributed: that noise is added inside a masked sum; set secureAggregation.mode to on for it',
    );
  if (privacy === 'central' && sight !== 'updates')
    return conflict(
      'privacy.mechanism',
      { privacy: 'distributed' },
      'must be distributed with masked rounds, where clients add the noise inside the sum, found central; that needs secureAggregation.mode off',
    );
  return null;
}

/** All that has to be changed until a combination works, in this order: the `nearest` of the last is one that does. */
export function conflictsOf(combination: Combination): readonly Conflict[] {
  const conflicts: Conflict[] = [];
  for (let next = conflictOf(combination); next !== null; next = conflictOf(next.nearest)) {
    assert(conflicts.length < 10, 'every change brings a combination nearer to one that works');
    conflicts.push(next);
  }
  return conflicts;
}

const sightNames = { updates: 'readable', sum: 'masked', 'group-sums': 'masked in groups' } as const;
const privacies = ['none', 'record', 'central', 'distributed'] as const;

/** The table in Markdown: with what each robust rule, rule for low-rank pairs, weighting and head can be combined. */
export function compatibilityTable(): string {
  const columns = (['updates', 'sum', 'group-sums'] as const).flatMap((sight) =>
    privacies.map((privacy) => ({ sight, privacy })),
  );
  const head = columns.map(
    ({ sight, privacy }) => `${sightNames[sight]}, ${privacy === 'none' ? 'no noise' : privacy}`,
  );
  const usual: Omit<Combination, 'sight' | 'privacy'> = {
    robust: 'none',
    hostileMax: 1,
    quorum: 1000,
    groupSize: 10,
    lowRank: 'freeze-a',
    weighting: 'equal',
    byLabel: false,
    root: false,
  };
  const line = (name: string, change: Partial<Combination>): string =>
    `| ${[name, ...columns.map((column) => (conflictOf({ ...usual, ...column, ...change }) === null ? 'yes' : 'no'))].join(' | ')} |`;
  return [
    `| ${['robust rule, and what else is not as usual', ...head].join(' | ')} |`,
    `| ${['---', ...head.map(() => '---')].join(' | ')} |`,
    ...robustRuleNames.map((robust) => line(robust, { robust, root: robustDeclarationOf(robust).needsRoot })),
    ...lowRankRuleNames.map((lowRank) => line(`none, lowRank: ${lowRank}`, { lowRank })),
    ...(['examples', 'given', 'quality'] as const).map((weighting) =>
      line(`none, weighting: ${weighting}`, { weighting }),
    ),
    line('none, head: by-label', { byLabel: true }),
  ].join('\n');
}
