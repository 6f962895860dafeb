/** The schema of a plan: fields, allowed values and defaults. What the fields mean stands at `Plan`. */
import * as z from 'zod/mini';
import { cohortSizeMax } from '../core/limits.ts';
import { aggregationSchema } from './aggregation.ts';
import { auditSchema } from './audit.ts';
import { canarySchema } from './canary.ts';
import { digestField, sectionField, textField, wholeField } from './fields.ts';
import { privacySchema } from './privacy.ts';
import { quarantineSchema } from './quarantine.ts';
import { secureAggregationSchema } from './secure-aggregation.ts';
import { taskSchema } from './task.ts';
import { trainingSchema } from './training.ts';

/** Seconds of one phase: thirty days, for sites whose data are reviewed by hand. */
const phaseSecondsMax = 30 * 24 * 3600;
/** Rounds of one federation: bounds what a typing error can cost. */
const roundsMax = 100_000;

const json: z.ZodMiniType<unknown> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(json), z.record(z.string(), json)], {
    error: 'plain data with finite numbers',
  }),
);

const adapter = z.catchall(
  z.object(
    { method: textField(100, 'the name of an adapter method, such as lora, bottleneck or none,') },
    {
      error: 'a section with the field method and the settings of that method',
    },
  ),
  json,
);

const cohortError = `all, or a whole number from 1 to ${cohortSizeMax}`;
const cohortSize = z.union([z.literal('all'), wholeField(1, cohortSizeMax)], { error: cohortError });

const seconds = (preset: number) => z._default(wholeField(1, phaseSecondsMax), preset);

const rounds = sectionField({
  count: wholeField(1, roundsMax),
  cohortSize: z._default(cohortSize, 'all'),
  quorum: wholeField(1, cohortSizeMax),
  recruitSeconds: seconds(600),
  trainSeconds: seconds(3600),
  evaluateSeconds: seconds(600),
  waitSeconds: seconds(3600),
  voidsMax: z._default(wholeField(1, 1000), 3),
});

const baseDigest = digestField(' (write 64 zeros, and tributary plan check --base says which it is)');

/** Checks a plan and fills in defaults; messages of faults say what is allowed. */
export const planSchema = sectionField(
  {
    format: z.literal('tributary-plan-1', { error: 'tributary-plan-1' }),
    name: textField(200),
    base: sectionField({ digest: baseDigest }),
    task: taskSchema,
    adapter,
    training: z.prefault(trainingSchema, {}),
    rounds,
    aggregation: z.prefault(aggregationSchema, {}),
    evaluation: z.prefault(sectionField({ everyRounds: z._default(wholeField(0, roundsMax), 1) }), {}),
    audit: z.prefault(auditSchema, {}),
    canary: z.prefault(canarySchema, {}),
    quarantine: z.prefault(quarantineSchema, {}),
    secureAggregation: z.prefault(secureAggregationSchema, {}),
    privacy: z.prefault(privacySchema, {}),
  },
  ['phases'],
);
