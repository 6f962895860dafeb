/**
 * The plans of a run (with the adapter, and for the head alone) and the policy that each site writes for them. The settings were chosen on held-out
 * training rows of the sample, never on test rows, and they are the same for a site alone, the federation and the pooled data.
 */
import type { BaseDescription } from '../../shared/model/base-model.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { parsePlan, planHashOf } from '../../shared/plan/plan.ts';
import type { AdapterName, QuickstartOptions } from './options.ts';

/** Tokens of a text; longer ones are cut. Covers all of the published sets that the project is measured on but a few passages. */
const lengthMax = 128;
/** Least clients and updates that a site of the demonstration demands; a federation of fewer sites cannot have more than all. */
const cohortMin = 3;

/** Settings of the methods as they stand in a plan. */
const adapters: Readonly<Record<AdapterName, Plan['adapter']>> = {
  lora: { method: 'lora', targets: 'all-linear', rank: 8, alpha: 16 },
  bottleneck: { method: 'bottleneck', reductionFactor: 8 },
  none: { method: 'none' },
};

/** Highest learning rate by method. */
const learningRates: Readonly<Record<AdapterName, number>> = { lora: 5e-3, bottleneck: 5e-3, none: 1e-2 };

/** What {@link makePlan} needs. */
export interface PlanOptions {
  readonly name: string;
  readonly adapter: AdapterName;
  readonly base: BaseDescription;
  readonly labels: readonly string[];
  readonly options: Pick<QuickstartOptions, 'rounds' | 'localEpochs' | 'clientCount' | 'seed'>;
}

/** The plan of one federation in which every site takes part in every round. */
export function makePlan({ name, adapter, base, labels, options }: PlanOptions): Plan {
  const { rounds, localEpochs, clientCount, seed } = options;
  return parsePlan(
    {
      format: 'tributary-plan-1',
      name,
      base: { digest: base.digest },
      task: { labels: [...labels], pooling: 'mean', lengthMax: Math.min(lengthMax, base.positionsMax) },
      adapter: adapters[adapter],
      training: { localEpochs, batchSize: 16, learningRate: learningRates[adapter], schedule: 'linear', seed },
      rounds: { count: rounds, cohortSize: clientCount, quorum: clientCount },
      aggregation: { rule: 'fedavg', weighting: 'examples' },
      evaluation: { everyRounds: 1 },
    },
    'the plan of the quickstart',
  );
}

/**
 * The policy file of a site: it approves these plans by their hashes, nothing else, and discloses the evaluation counts that the report's curves
 * are drawn from.
 */
export function policyDocument(plans: readonly Plan[], { clientCount }: { readonly clientCount: number }): object {
  return {
    format: 'tributary-policy-1',
    approvedPlans: plans.map(planHashOf),
    methods: [...new Set(plans.map(({ adapter }) => adapter.method))],
    baseDigests: [...new Set(plans.map(({ base }) => base.digest))],
    cohortMin: Math.min(cohortMin, clientCount),
    quorumMin: Math.min(cohortMin, clientCount),
    exampleCountMin: 1,
    roundsMax: Math.max(...plans.map(({ rounds }) => rounds.count)),
    discloseMetrics: true,
    secureAggregation: 'optional',
  };
}
