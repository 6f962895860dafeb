/**
 * The part `canary` of a plan: what a candidate has to pass before it is published. Rows of the operator that anybody may see, or the held-out
 * rows of the round's clients; without either no gate is claimed.
 *
 * It finds what shows in the metric on those rows. A backdoor that leaves them alone passes, unless the rows hold its trigger; held-out rows of
 * clients are counted by clients, and one that lies about its own counts moves the metric by its share.
 */
import * as z from 'zod/mini';
import type { Digest } from '../core/ids.ts';
import { type MetricName, metricFacts, metricNames } from '../training/metrics.ts';
import { choiceField, digestField, numberField, sectionField, textField, wholeField } from './fields.ts';
import type { Problem } from './problems.ts';

/** What a candidate has to pass. */
export interface Canary {
  /** Who measures: the coordinator on rows of its operator, the contributors of the round on held-out rows, or nobody. */
  readonly by: 'none' | 'operator' | 'clients';
  /** Of `operator`: the file with the rows, beside the plan's own. */
  readonly file?: string | undefined;
  /** SHA-256 of that file. */
  readonly digest?: Digest | undefined;
  /** The column of that file that tells parts apart, where its rows are of several tasks; as `RowsFile` has it. */
  readonly partColumn?: string | undefined;
  readonly metric: MetricName;
  /** By how much a candidate may be worse than the version that it would replace. */
  readonly drop: number;
  /** The worst value with which any version is published; what lower is better of, the largest. */
  readonly least?: number | undefined;
  /** Candidates in a row that may fail before the federation stops. */
  readonly failuresMax: number;
}

/** The section as a schema. */
export const canarySchema = sectionField({
  by: z._default(choiceField(['none', 'operator', 'clients']), 'none'),
  file: z.optional(textField(1024, 'the path of a file with rows, from the folder of the plan,')),
  digest: z.optional(digestField()),
  partColumn: z.optional(textField(200, 'the name of a column')),
  metric: z._default(choiceField(metricNames), 'accuracy'),
  drop: z._default(numberField({ atLeast: 0, atMost: 1e6 }), 0.05),
  least: z.optional(numberField({ atLeast: 0, atMost: 1e6 })),
  failuresMax: z._default(wholeField(1, 1000), 3),
});

/** What no single field of the section shows. */
export function crossCheckCanary({ by, file, digest, partColumn, least }: Canary): Problem[] {
  const problems: Problem[] = [];
  const demand = (path: string, sentence: string): void => void problems.push({ path: `canary.${path}`, sentence });
  if (by === 'operator') {
    if (file === undefined)
      demand('file', 'must be given with canary.by operator, found nothing: the file with the public rows');
    if (digest === undefined)
      demand('digest', 'must be given with canary.by operator, found nothing: the SHA-256 of canary.file');
    return problems;
  }
  for (const [name, value] of [
    ['file', file],
    ['digest', digest],
    ['partColumn', partColumn],
  ] as const)
    if (value !== undefined)
      demand(
        name,
        `must be left out with canary.by ${by}: only an operator has rows of its own, found ${value.slice(0, 60)}`,
      );
  if (by === 'none' && least !== undefined)
    demand('least', `must be left out without a gate, found ${least}: set canary.by to operator or clients`);
  if (by === 'clients' && least === undefined)
    demand(
      'least',
      'must be given with canary.by clients, found nothing: nobody measured the adapter that the first round starts from',
    );
  return problems;
}

/** What a plan's gate promises, for people. */
export function describeCanary({ by, metric, drop, least }: Canary): string {
  if (by === 'none') return 'no gate: whatever a round makes is published';
  const who = by === 'operator' ? "the operator's public rows" : "the round's held-out rows";
  const floor = least === undefined ? '' : `, or is ${metricFacts[metric].higherIsBetter ? 'below' : 'above'} ${least}`;
  return `gate: a candidate whose ${metric} on ${who} is worse by more than ${drop}${floor} is not published`;
}
