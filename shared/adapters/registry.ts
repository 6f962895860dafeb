/** The adapter methods by name, and what binds a configuration to a base. */
import { UsageError } from '../core/errors.ts';
import type { BaseDescription, LinearSite } from '../model/base-model.ts';
import { nearest } from '../plan/nearest.ts';
import type { Plan } from '../plan/plan.ts';
import { shown } from '../plan/problems.ts';
import type { TaskAdapter } from '../training/task-model.ts';
import { dropLowest, droppedLayers } from './adapter-drop.ts';
import { bias } from './bias.ts';
import { bottleneck } from './bottleneck.ts';
import { compacter } from './compacter.ts';
import { bindAverage } from './composition/average.ts';
import { bindBatchSplit } from './composition/batch-split.ts';
import { bindFuse } from './composition/fuse.ts';
import { bindGate } from './composition/gate.ts';
import type { BindMember, CompositionBinder } from './composition/members.ts';
import { bindParallel } from './composition/parallel.ts';
import { bindSplit } from './composition/split.ts';
import { bindStack } from './composition/stack.ts';
import { dora } from './dora.ts';
import { full } from './full.ts';
import { hyperformer } from './hyperformer.ts';
import { ia3 } from './ia3.ts';
import { invertible } from './invertible.ts';
import { lora } from './lora.ts';
import type { AdapterContext, AdapterMethod, LinearWeights, MapChange } from './method.ts';
import { mixture } from './mixture.ts';
import { none } from './none.ts';
import { prefix } from './prefix.ts';
import { prompt } from './prompt.ts';
import type { AdapterHooks } from './sublayer-change.ts';
import { vera } from './vera.ts';

/** A method bound to its configuration and to a base. */
export interface BoundAdapter extends TaskAdapter {
  readonly method: string;
  /** The configuration with defaults filled in; {@link parseAdapter} accepts it and gives the same adapter. */
  readonly configuration: Plan['adapter'];
  hooks(context: AdapterContext): AdapterHooks;
  /** Tokens that the method puts in front of every text, which take positions from it. Absent means none. */
  readonly virtualTokens?: number;
  /** The frozen map at a site with the adapter in it, and back, as `AdapterMethod` says; absent where the method has none. */
  readonly merge?: BoundMapChange;
  readonly unmerge?: BoundMapChange;
  /** An adapter in a simpler form that computes the same, as `AdapterMethod` says; absent where there is none. */
  readonly eject?: (parameters: ReadonlyMap<string, Float32Array>) => {
    readonly adapter: BoundAdapter;
    readonly parameters: ReadonlyMap<string, Float32Array>;
  };
}

/** From one frozen map to another; undefined where the adapter does not act. */
export type BoundMapChange = (
  site: LinearSite,
  map: LinearWeights,
  parameters: ReadonlyMap<string, Float32Array>,
) => LinearWeights | undefined;

function binderOf<Configuration extends object>(
  method: AdapterMethod<Configuration>,
): readonly [string, CompositionBinder] {
  const bind = (settings: unknown, base: BaseDescription): BoundAdapter => {
    const configuration = method.parse(settings, base);
    const bound = (change: MapChange<Configuration>): BoundMapChange => {
      return (site, map, parameters) => change(base, configuration, site, map, parameters);
    };
    return {
      method: method.name,
      configuration: { method: method.name, ...configuration },
      tensors: method.layout(base, configuration),
      initialise: (specification, random) => method.initialise(specification, configuration, random),
      hooks: (context) => dropLowest(method.hooks(base, configuration, context), droppedLayers(configuration, context)),
      ...(method.virtualTokens && { virtualTokens: method.virtualTokens(configuration) }),
      ...(method.stacks?.(configuration) === true && { stacks: true }),
      ...(method.merge && { merge: bound(method.merge) }),
      ...(method.unmerge && { unmerge: bound(method.unmerge) }),
      ...(method.eject && {
        eject: (parameters) => {
          const ejected = method.eject!(base, configuration, parameters);
          return { adapter: bind(ejected.configuration, base), parameters: ejected.parameters };
        },
      }),
    };
  };
  return [method.name, bind];
}

/** Every method: a new one is a line here. */
const binders: ReadonlyMap<string, CompositionBinder> = new Map<string, CompositionBinder>([
  binderOf(none),
  binderOf(bottleneck),
  binderOf(compacter),
  binderOf(lora),
  binderOf(dora),
  binderOf(vera),
  binderOf(ia3),
  binderOf(bias),
  binderOf(full),
  binderOf(prefix),
  binderOf(prompt),
  binderOf(invertible),
  binderOf(hyperformer),
  binderOf(mixture),
  ['stack', bindStack],
  ['fuse', bindFuse],
  ['average', bindAverage],
  ['gate', bindGate],
  ['split', bindSplit],
  ['batch-split', bindBatchSplit],
  ['parallel', bindParallel],
]);

/** Names of the methods, as plans and command lines have them. */
export const methodNames: readonly string[] = [...binders.keys()];

/**
 * Binds what stands under `adapter` in a plan to a base.
 * @throws UsageError `bad-adapter` with one line per fault: field, what is allowed (the nearest name, where there is one), what was found.
 */
export function parseAdapter(configuration: Plan['adapter'], base: BaseDescription): BoundAdapter {
  return bind(configuration, base, parseAdapter);
}

/** Thrown where a check asks for what a base alone knows. */
const baseNeeded = new Error('a base is needed');
const needBase = (): never => {
  throw baseNeeded;
};
const noBase = new Proxy({} as BaseDescription, { get: needBase });

/**
 * Checks what can be checked of an adapter before its base is known: the names of the method and of its members, their fields and values. Whether they
 * fit together and fit a base, {@link parseAdapter} says.
 * @throws UsageError `bad-adapter` as {@link parseAdapter} does.
 */
export function checkSettings(configuration: Plan['adapter']): void {
  const check = (settings: Plan['adapter']): BoundAdapter => {
    try {
      return bind(settings, noBase, check);
    } catch (thrown) {
      if (thrown !== baseNeeded) throw thrown;
      // As a member it stands for itself until somebody asks what it does on a base.
      const { method } = settings;
      const unknown = { method, configuration: settings, initialise: needBase, hooks: needBase };
      return {
        ...unknown,
        get tensors() {
          return needBase();
        },
      };
    }
  };
  check(configuration);
}

function bind(configuration: Plan['adapter'], base: BaseDescription, bindMember: BindMember): BoundAdapter {
  const { method, ...settings } = configuration;
  const binder = binders.get(method);
  if (binder === undefined) {
    const near = nearest(method, methodNames);
    const hint = near === null ? '' : ` (did you mean ${near}?)`;
    throw new UsageError(
      'bad-adapter',
      `adapter: method must be one of ${methodNames.join(', ')}${hint}, found ${shown(method)}`,
      { context: { method: String(method).slice(0, 100) } },
    );
  }
  return binder(settings, base, bindMember);
}
