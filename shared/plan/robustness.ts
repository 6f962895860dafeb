/** The part of a plan's `aggregation` that holds against hostile clients: the rule, how many it holds against, and what stands before it. */
import * as z from 'zod/mini';
import { type RobustRuleName, robustRuleNames } from '../update/robust-rules.ts';
import { choiceField, numberField, wholeField } from './fields.ts';

/** Settings of the robust rule. */
export interface RobustSettings {
  /** `none` takes the mean. */
  readonly robust: RobustRuleName;
  /** f: hostile vectors against which the rule holds; behind buckets, hostile buckets. */
  readonly hostileMax: number;
  /** Updates whose mean the rule is given as one; 1 gives it single updates. */
  readonly bucketSize: number;
  /** Largest norm of an update before the rule sees it; of `centred-clip` its radius, 1 when left out. */
  readonly robustNorm?: number | undefined;
}

/** The fields, for the section `aggregation`. */
export const robustFields = {
  robust: z._default(choiceField(robustRuleNames), 'none'),
  hostileMax: z._default(wholeField(0, 1000), 1),
  bucketSize: z._default(wholeField(1, 100), 1),
  robustNorm: z.optional(numberField({ above: 0 })),
};
