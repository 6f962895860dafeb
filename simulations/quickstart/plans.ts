/**
 * The plans of a run (with the adapter, and for the head alone) and the policy that each site writes for them. Settings are the same for a site
 * alone, the federation and pooled rows, but for the learning rate: each has the best of one grid, chosen on held-out training rows of
 * the sample with seed 1, never on test rows. (The mean of several deltas is shorter than each of them, so a federation takes a higher rate.)
 */
import { joinedExamples } from '../../shared/adapters/method-names.ts';
import type { BoundAdapter } from '../../shared/adapters/registry.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import { isMasked } from '../../shared/plan/secure-aggregation.ts';
import type { Task, TaskKind } from '../../shared/plan/task.ts';
import { completeGraphMax } from '../../shared/secure-aggregation/threshold.ts';
import type { AdapterName, QuickstartOptions } from './options.ts';

/** Tokens of a text; longer ones are cut. Covers all of the published sets that the project is measured on but a few passages. */
const lengthMax = 128;
/** Least clients and updates that a site of the demonstration demands; a federation of fewer sites cannot have more than all. */
const cohortMin = 3;

/** Settings of methods that differ from their defaults. */
const adapters: Readonly<Partial<Record<AdapterName, Plan['adapter']>>> = {
  lora: { method: 'lora', targets: 'all-linear', rank: 8, alpha: 16 },
  bottleneck: { method: 'bottleneck', reductionFactor: 8 },
};

/** Settings of a method as they stand in a plan. */
export function adapterSettingsOf(method: AdapterName): Plan['adapter'] {
  const example = Object.hasOwn(joinedExamples, method) ? joinedExamples[method as keyof typeof joinedExamples] : {};
  return adapters[method] ?? { method, ...example };
}

/**
 * The task of a run on these labels, as it stands in every plan.
 * @param virtualTokens positions that the adapter takes from every text.
 */
export function makeTask(
  kind: TaskKind,
  labels: readonly string[],
  { positionsMax }: Pick<BaseDescription, 'positionsMax'>,
  virtualTokens = 0,
): Task {
  const length = { lengthMax: Math.min(lengthMax, positionsMax - virtualTokens) };
  switch (kind) {
    case 'classification':
    case 'multi-label':
      return { kind, labels, pooling: 'mean', ...length };
    case 'tokens':
      return { kind, labels, ...length };
    case 'causal':
      return { kind, ...length };
    case 'masked':
      return { kind, maskFraction: 0.15, ...length };
    case 'several':
      throw new UsageError('bad-option', 'several tasks stand in a plan: the quickstart makes plans of one');
    default:
      return kind satisfies never;
  }
}

/** The task of adapters side by side, with a head for each that learns the same; of any other adapter the task as it is. */
export function taskFor({ sideBySide }: Pick<BoundAdapter, 'sideBySide'>, task: Task): Task {
  if (sideBySide === undefined || task.kind !== 'classification') return task;
  const { kind: _, labels, classWeights, ...shape } = task;
  return { ...shape, kind: 'several', tasks: sideBySide.map((name) => ({ name, labels, classWeights })) };
}

/** Who trains with a plan. */
export type Trainer = 'federation' | 'site alone' | 'pooled rows';

/**
 * Highest learning rate by method: the best of 0.005, 0.01 and 0.02 (of 0.02, 0.05, 0.1 and 0.2 for a head) for each trainer. For LoRA a
 * federation was better still with 0.01, but sites alone diverge there, so a federation of other rows might.
 */
const learningRates: Readonly<Partial<Record<AdapterName, Readonly<Record<Trainer, number>>>>> = {
  lora: { federation: 0.005, 'site alone': 0.005, 'pooled rows': 0.005 },
  bottleneck: { federation: 0.02, 'site alone': 0.02, 'pooled rows': 0.005 },
  none: { federation: 0.05, 'site alone': 0.05, 'pooled rows': 0.05 },
};
/** Of methods that no grid was run for: one rate for all trainers. */
const untuned: Readonly<Record<Trainer, number>> = { federation: 0.01, 'site alone': 0.01, 'pooled rows': 0.01 };
/** Rows of a local step: a site with a few hundred rows needs steps more than it needs quiet gradients. */
const batchSize = 8;

/** What {@link makePlan} needs. */
export interface PlanOptions {
  readonly name: string;
  readonly adapter: AdapterName;
  readonly trainer: Trainer;
  readonly base: BaseDescription;
  readonly task: Task;
  readonly options: Pick<QuickstartOptions, 'rounds' | 'localEpochs' | 'clientCount' | 'seed'>;
}

/** The plan of one federation in which every site takes part in every round, or of a training that imitates its rounds. */
export function makePlan({ name, adapter, trainer, base, task, options }: PlanOptions): Plan {
  const { rounds, localEpochs, clientCount, seed } = options;
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name,
      base: { digest: base.digest },
      task,
      adapter: adapterSettingsOf(adapter),
      training: {
        localEpochs,
        batchSize,
        learningRate: (learningRates[adapter] ?? untuned)[trainer],
        schedule: 'linear',
        seed,
      },
      rounds: { count: rounds, cohortSize: clientCount, quorum: clientCount },
      aggregation: { rule: 'fedavg', weighting: 'examples' },
      evaluation: { everyRounds: 1 },
      // Masked from three sites on; more than a complete graph holds would need groups.
      secureAggregation: { mode: clientCount > completeGraphMax ? 'off' : 'auto' },
    },
    'the plan of the quickstart',
  );
}

/**
 * The policy file of a site: it approves these plans by their hashes, nothing else, and demands that their rounds are masked where they are. Where
 * they are not, it discloses the evaluation counts that the report's curves are drawn from.
 */
export function policyDocument(plans: readonly Plan[], { clientCount }: { readonly clientCount: number }): object {
  const masked = plans.every(isMasked);
  return {
    format: 'tributary-policy-1',
    approvedPlans: plans.map(planHashOf),
    methods: [...new Set(plans.map(({ adapter }) => adapter.method))],
    baseDigests: [...new Set(plans.map(({ base }) => base.digest))],
    cohortMin: Math.min(cohortMin, clientCount),
    quorumMin: Math.min(cohortMin, clientCount),
    exampleCountMin: 1,
    roundsMax: Math.max(...plans.map(({ rounds }) => rounds.count)),
    organisationsMin: Math.min(cohortMin, clientCount),
    discloseMetrics: !masked,
    secureAggregation: masked ? 'required' : 'optional',
  };
}
