/** The part `training` of a plan, which `tributary train` takes too: fields, allowed values, defaults, and what no single field shows. */
import * as z from 'zod/mini';
import { defaultTraining, type TrainingConfiguration } from '../training/configuration.ts';
import { choiceField, numberField, sectionField, textField, wholeField } from './fields.ts';
import { describeProblems, type Problem, throwProblems } from './problems.ts';

/** Steps of one round: bounds what a typing error can cost. */
const localStepsMax = 1_000_000;
/** Groups, stretches, and names in one: more than any adapter has layers. */
const entriesMax = 256;

const list = <Item extends z.ZodMiniType>(item: Item, what: string) => {
  const error = `a list of 1 to ${entriesMax} ${what}`;
  return z
    .array(item, { error })
    .check(z.refine((entries) => entries.length >= 1 && entries.length <= entriesMax, { error }));
};
const tensors = list(
  textField(1024, 'the beginning of a tensor name'),
  'beginnings of tensor names, such as head or layers.*.*.lora.b',
);
const share = (range: Parameters<typeof numberField>[0]) => z.optional(numberField(range));

/** The section as a schema. */
export const trainingSchema = sectionField({
  localEpochs: z.optional(wholeField(1, 10_000)),
  localSteps: z.optional(wholeField(1, localStepsMax)),
  batchSize: z._default(wholeField(1, 65_536), defaultTraining.batchSize),
  learningRate: z._default(numberField({ above: 0, atMost: 1 }), defaultTraining.learningRate),
  schedule: z._default(choiceField(['constant', 'linear', 'cosine']), defaultTraining.schedule),
  warmupFraction: z._default(numberField({ atLeast: 0, below: 1 }), defaultTraining.warmupFraction),
  warmupSteps: z.optional(wholeField(0, 100 * localStepsMax)),
  weightDecay: z._default(numberField({ atLeast: 0, atMost: 1 }), defaultTraining.weightDecay),
  gradientClipNorm: z._default(numberField({ atLeast: 0 }), defaultTraining.gradientClipNorm),
  beta1: z._default(numberField({ atLeast: 0, below: 1 }), defaultTraining.beta1),
  beta2: z._default(numberField({ atLeast: 0, below: 1 }), defaultTraining.beta2),
  epsilon: z._default(numberField({ above: 0 }), defaultTraining.epsilon),
  proximalMu: z._default(numberField({ atLeast: 0 }), defaultTraining.proximalMu),
  groups: z.optional(
    list(
      sectionField({ tensors, learningRateFactor: numberField({ above: 0, atMost: 10_000 }) }),
      'groups, each with tensors and learningRateFactor',
    ),
  ),
  freezing: z.optional(
    list(
      sectionField({ tensors, from: share({ atLeast: 0, below: 1 }), until: share({ above: 0, atMost: 1 }) }),
      'stretches, each with tensors and perhaps from and until',
    ),
  ),
  gradualUnfreezing: share({ above: 0, atMost: 1 }),
  samplingTemperature: z.optional(numberField({ above: 0, atMost: 1e6 })),
  adversarial: z.optional(
    sectionField({
      method: choiceField(['fgm', 'pgd']),
      radius: numberField({ above: 0, atMost: 1000 }),
      steps: z.optional(wholeField(1, 100)),
      stepSize: z.optional(numberField({ above: 0, atMost: 1000 })),
    }),
  ),
  seed: z._default(wholeField(0, 2 ** 32 - 1), 1),
});

/** Fills in what has a default that depends on other fields: one local epoch where neither epochs nor steps are given. */
export function completeTraining<Training extends TrainingConfiguration>(training: Training): Training {
  const isUnset = training.localEpochs === undefined && training.localSteps === undefined;
  return isUnset ? { ...training, localEpochs: 1 } : training;
}

/**
 * Checks settings of local training as a plan's section has them, and fills in defaults.
 * @throws UsageError `bad-training` with one line per fault.
 */
export function parseTraining(value: unknown, source: string): TrainingConfiguration & { readonly seed: number } {
  const parsed = trainingSchema.safeParse(value);
  if (!parsed.success)
    throwProblems('bad-training', 'the settings', source, describeProblems(parsed.error.issues, value));
  const problems = crossCheckTraining(parsed.data);
  if (problems.length > 0) throwProblems('bad-training', 'the settings', source, problems);
  return completeTraining(parsed.data);
}

/** What no single field of the section shows. */
export function crossCheckTraining(training: TrainingConfiguration): Problem[] {
  const { localEpochs, localSteps, freezing = [], adversarial } = training;
  const problems: Problem[] = [];
  if (localEpochs !== undefined && localSteps !== undefined) {
    problems.push({
      path: 'training',
      sentence: 'must have one of localEpochs and localSteps, found both; leave one of them out',
    });
  }
  for (const [index, { from = 0, until = 1 }] of freezing.entries()) {
    if (from < until) continue;
    const sentence = `must be above its from, which is ${from}, found ${until}`;
    problems.push({ path: `training.freezing[${index}].until`, sentence });
  }
  for (const field of ['steps', 'stepSize'] as const) {
    if (adversarial?.method !== 'fgm' || adversarial[field] === undefined) continue;
    const sentence = `must be left out with fgm, which takes one step; pgd takes several`;
    problems.push({ path: `training.adversarial.${field}`, sentence });
  }
  return problems;
}

/** What local training does beside plain steps, for people; nothing where it does not. */
export function describeStrategies(training: TrainingConfiguration): string[] {
  const { groups = [], freezing = [], gradualUnfreezing, samplingTemperature, adversarial, warmupSteps } = training;
  const percent = (part: number): string => `${Math.round(1000 * part) / 10} %`;
  return [
    ...(warmupSteps === undefined ? [] : [`${warmupSteps} steps of warm-up`]),
    ...groups.map(
      ({ tensors: names, learningRateFactor }) => `${names.join(', ')} at ${learningRateFactor} times the rate`,
    ),
    ...freezing.map(({ tensors: names, from = 0, until = 1 }) => {
      return `${names.join(', ')} frozen from ${percent(from)} to ${percent(until)} of the steps`;
    }),
    ...(gradualUnfreezing === undefined ? [] : [`layers join from the top until ${percent(gradualUnfreezing)}`]),
    ...(samplingTemperature === undefined ? [] : [`parts sampled at temperature ${samplingTemperature}`]),
    ...(adversarial === undefined ? [] : [`${adversarial.method} on word vectors within ${adversarial.radius}`]),
  ];
}
