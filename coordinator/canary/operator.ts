/** What the coordinator computes with rows of its operator, as a port: rounds know nothing of models. The real one is `operator-model.ts`. */
import { assert } from '../../shared/core/assert.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { rootOf } from '../../shared/plan/robustness.ts';
import type { Metrics } from '../../shared/training/metrics.ts';

/** A base and a plan with the operator's rows, ready. */
export interface OperatorModel {
  /** Metrics of an adapter, in the order of what is published, on the rows of `canary.file`. */
  measure(adapter: Float32Array): Promise<Metrics>;
  /** What a client with the rows of `aggregation.root` would send from this adapter: its upload `[uploaded dim]`. */
  rootUpdate(
    adapter: Float32Array,
    round: { readonly roundIndex: number; readonly drawHash: Digest },
  ): Promise<Float32Array>;
  /** Frees what was loaded. */
  dispose(): void;
}

/** Makes the operator's rows ready for a plan. @throws UsageError where they do not fit. */
export type OpenOperator = (plan: Plan) => Promise<OperatorModel>;

/** Whether the coordinator of a plan computes with rows of its operator. */
function needsOperator({ canary, aggregation }: Pick<Plan, 'canary' | 'aggregation'>): boolean {
  return canary.by === 'operator' || rootOf(aggregation) !== null;
}

/** The operator's model of a plan; null where it needs none. @throws UsageError where it is needed and nobody can make it. */
export async function operatorOf(plan: Plan, open: OpenOperator | undefined): Promise<OperatorModel | null> {
  if (!needsOperator(plan)) return null;
  if (open !== undefined) return open(plan);
  throw new UsageError('no-operator-rows', 'the plan names rows of the operator, and this coordinator was given none');
}

/** The step on the operator's clean rows. */
export function rootStep(
  operator: OperatorModel | null,
  adapter: Float32Array,
  round: Parameters<OperatorModel['rootUpdate']>[1],
): Promise<Float32Array> {
  assert(operator !== null, 'a plan with rows of the operator has its model');
  return operator.rootUpdate(adapter, round);
}
