/** The part of a plan's `aggregation` that holds against hostile clients: the rule, how many it holds against, and what stands before it. */
import * as z from 'zod/mini';
import type { Digest } from '../core/ids.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../update/robust-rules.ts';
import { choiceField, digestField, numberField, sectionField, textField, wholeField } from './fields.ts';
import type { Problem } from './problems.ts';

/** A file of the operator, by path from the folder of the plan and SHA-256. */
export interface RowsFile {
  readonly file: string;
  readonly digest: Digest;
  /** The column that tells parts apart. Of a task with a part, rows of others are left alone; absent means that all rows are of the task. */
  readonly partColumn?: string | undefined;
}

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
  /** Of `fltrust`: clean rows from which the coordinator makes the step that updates are compared with. */
  readonly root?: RowsFile | undefined;
}

/** The fields, for the section `aggregation`. */
export const robustFields = {
  robust: z._default(choiceField(robustRuleNames), 'none'),
  hostileMax: z._default(wholeField(0, 1000), 1),
  bucketSize: z._default(wholeField(1, 100), 1),
  robustNorm: z.optional(numberField({ above: 0 })),
  root: z.optional(
    sectionField({
      file: textField(1024, 'the path of a file with rows, from the folder of the plan,'),
      digest: digestField(),
      partColumn: z.optional(textField(200, 'the name of a column')),
    }),
  ),
};

/** Settings that the robust rule does not read, or lacks. */
export function crossCheckRobust({ robust, bucketSize, robustNorm }: RobustSettings): Problem[] {
  const problem = (field: string, sentence: string): Problem[] => [{ path: `aggregation.${field}`, sentence }];
  if (robust === 'norm-clip' && robustNorm === undefined)
    return problem('robustNorm', 'must be given with the rule norm-clip, found nothing: the largest norm of an update');
  if (robust !== 'none') return [];
  const next = (rule: string): string => `must be left out without a robust rule; set aggregation.robust to ${rule}`;
  return [
    ...(robustNorm === undefined
      ? []
      : problem(
          'robustNorm',
          `${next('norm-clip')}, or secureAggregation.clipNorm where rounds are masked, found ${robustNorm}`,
        )),
    ...(bucketSize === 1
      ? []
      : problem('bucketSize', `${next('a rule that looks at the buckets')}, found ${bucketSize}`)),
  ];
}

/** The rows that a rule's own step is made of; null where the rule makes none. */
export function rootOf({ robust, root }: RobustSettings): RowsFile | null {
  return robustDeclarationOf(robust).needsRoot && root !== undefined ? root : null;
}
