/**
 * What a robust rule is: a value `{ name, init, update }` from the vectors of a round to one step, with a durable state like that of the server's
 * optimisers. Rules that look through another view of the vectors (clipped, bucketed) take the rule behind them as an argument.
 */
import { FederationError } from '../../../shared/core/errors.ts';
import type { Digest } from '../../../shared/core/ids.ts';
import { type RobustRuleName, robustDeclarationOf } from '../../../shared/update/robust-rules.ts';
import type { RuleState } from '../server-optimisers.ts';
import type { Vectors } from './vectors.ts';

/** What a rule gets beside the vectors. */
export interface RobustContext {
  /** What random buckets are drawn from. */
  readonly roundHash: Digest;
  /** The step that the coordinator made of its public rows `[dim]`; null where it has none. */
  readonly root: ArrayLike<number> | null;
  /** Hostile vectors that were taken out before, such as rejected groups: so many fewer are left among the others. */
  readonly removedCount: number;
}

/** One rule. */
export interface RobustRule {
  readonly name: string;
  init(dim: number): RuleState;
  /**
   * The step `[dim]`, owned by the caller; mutates `state`. @throws FederationError `too-few-updates` below the rule's condition,
   * `update-not-finite`.
   */
  update(state: RuleState, vectors: Vectors, context: RobustContext): Promise<Float64Array>;
}

/** Hostile vectors that may be left of `hostileMax`. */
export function hostileLeft(hostileMax: number, { removedCount }: RobustContext): number {
  return Math.max(0, hostileMax - removedCount);
}

/** Refuses to answer with fewer vectors than the declared condition of `name` asks for: a mean in its place would hold against nobody. */
export function requireCount(name: RobustRuleName, hostileMax: number, count: number): void {
  const { countMin, condition } = robustDeclarationOf(name);
  const least = countMin(hostileMax);
  if (count >= least) return;
  const found = `with f = ${hostileMax} the rule ${name} needs ${least} of them (${condition}), found ${count}`;
  throw new FederationError('too-few-updates', `too few updates or groups: ${found}; ask more clients, or lower f`);
}
