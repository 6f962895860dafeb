/** How checkers say that something is wrong: by the name of the rule, so that a broken machine is seen to break the rule that it should. */

/** Every rule that holds in a world after every event. */
export type Rule =
  | 'exact-sum'
  | 'never-both'
  | 'one-unmask-per-round'
  | 'threshold'
  | 'forward-only'
  | 'illegal-changes-nothing'
  | 'authenticity'
  | 'fresh-keys'
  | 'survivors-dealt'
  | 'one-division'
  | 'wiped'
  | 'bounded-queues'
  | 'liveness'
  | 'linear-history'
  | 'quorum'
  | 'one-contribution'
  | 'receipt-counts';

/** A rule that did not hold. */
export class RuleBroken extends Error {
  readonly rule: Rule;

  constructor(rule: Rule, detail: string) {
    super(`${rule}: ${detail}`);
    this.name = 'RuleBroken';
    this.rule = rule;
  }
}

/** @throws RuleBroken unless `holds`. */
export function check(rule: Rule, holds: boolean, detail: string): asserts holds {
  if (!holds) throw new RuleBroken(rule, detail);
}
