/**
 * What a plan's adapter is on a base: as clients train it, and as the federation publishes it, each with the layout and the classes that the plan
 * gives its tensors. Mostly the two are one; a rule for low-rank pairs may publish more ranks than are trained.
 */
import type { LoraConfiguration } from '../adapters/lora.ts';
import { loraOfRank } from '../adapters/lora-rank.ts';
import { type BoundAdapter, checkSettings, parseAdapter } from '../adapters/registry.ts';
import type { BaseDescription } from '../model/base-model.ts';
import type { Plan } from '../plan/plan.ts';
import { federatedLayout, refusePlan } from '../update/federated-layout.ts';
import type { AdapterLayout } from '../update/layout.ts';
import { checkTraining } from './check-configuration.ts';
import { taskLayout } from './initial-adapter.ts';

/** An adapter on a base and the layout of all that is learned with it. */
export interface LaidOutAdapter {
  readonly adapter: BoundAdapter;
  readonly layout: AdapterLayout;
}

/** The adapters of a plan; the same object where they are one. */
export interface PlanAdapters {
  readonly published: LaidOutAdapter;
  readonly trained: LaidOutAdapter;
}

/** Checks what can be checked of the adapters of a plan before its base is known. @throws UsageError `bad-adapter` or `bad-plan`. */
export function checkPlanAdapter({ adapter, aggregation }: Pick<Plan, 'adapter' | 'aggregation'>): void {
  checkSettings(adapter);
  requireLora(adapter.method, aggregation.publishedRank);
}

function requireLora(method: string, publishedRank: number | undefined): void {
  if (publishedRank === undefined || method === 'lora') return;
  throw refusePlan('publishedRank', `must be left out with the adapter ${method}: it is for the method lora alone`);
}

/** The adapters of a plan on a base. @throws UsageError `bad-adapter`, `bad-plan` or `bad-training`. */
export function planAdapters(
  { adapter: settings, aggregation, task, training, privacy }: Plan,
  base: BaseDescription,
): PlanAdapters {
  const sendsCounts = aggregation.robust === 'none' && privacy.unit === 'none';
  const layOut = (adapter: BoundAdapter): LaidOutAdapter => {
    return { adapter, layout: federatedLayout(taskLayout(adapter, base, task), aggregation, sendsCounts) };
  };
  const bound = parseAdapter(settings, base);
  const trained = layOut(bound);
  checkTraining(training, trained.layout);
  const { publishedRank } = aggregation;
  if (publishedRank === undefined) return { published: trained, trained };
  requireLora(bound.method, publishedRank);
  const { method, ...configuration } = bound.configuration;
  // What `lora` bound is a configuration of its own.
  const wider = loraOfRank(configuration as unknown as LoraConfiguration, publishedRank, base);
  return { published: layOut(parseAdapter({ method, ...wider }, base)), trained };
}
