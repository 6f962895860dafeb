/**
 * Compositions of adapters as values: a composition is a bound adapter like any other, made of members, so compositions nest. In a plan:
 *
 *     adapter:
 *       method: stack
 *       members:
 *         - { id: language, frozen: true, method: bottleneck, reductionFactor: 2 }
 *         - { id: task, method: bottleneck }
 *
 * The tensors of a member carry its id in front (`task.layers.0.feedForward.bottleneck.down.kernel`), those of a frozen one are of the
 * aggregation class `frozen`: they are part of the layout and its digest, and no update changes them.
 */
import * as z from 'zod/mini';
import { markConstant } from '../../compute/constants.ts';
import { UsageError } from '../../core/errors.ts';
import { type SeededRandom, seededRandom } from '../../core/random.ts';
import type { BaseDescription, SiteHooks } from '../../model/base-model.ts';
import { booleanField, digestField } from '../../plan/fields.ts';
import type { Plan } from '../../plan/plan.ts';
import type { Problem } from '../../plan/problems.ts';
import type { TensorSpecification } from '../../update/layout.ts';
import type { AdapterContext, LinearWeights } from '../method.ts';
import type { BoundAdapter, BoundMapChange } from '../registry.ts';
import { refuseSettings } from '../settings.ts';
import type { AdapterHooks } from '../sublayer-change.ts';

/** One adapter of a composition. */
export interface Member {
  readonly id: string;
  /** Whether its parameters stay as they are. */
  readonly frozen: boolean;
  readonly adapter: BoundAdapter;
}

/** Binds the configuration of a member, a composition too. */
export type BindMember = (configuration: Plan['adapter'], base: BaseDescription) => BoundAdapter;

/** What binds a composition: `settings` is what stands beside `method`. */
export type CompositionBinder = (settings: unknown, base: BaseDescription, bindMember: BindMember) => BoundAdapter;

/** Members of one composition: a serving batch of many adapters is split outside of plans. */
const membersMax = 64;
/** Words that begin names of other tensors. */
const reservedIds = ['layers', 'head', 'heads', 'fusion', 'average', 'gate'];
const idError = `a name of letters, digits, - and _ that begins with a letter, other than ${reservedIds.join(', ')}`;
const id = z
  .string({ error: idError })
  .check(z.refine((text) => /^[A-Za-z][\w-]{0,63}$/.test(text) && !reservedIds.includes(text), { error: idError }));
const methodError = 'the name of an adapter method';

/** A member as it stands in a plan: `id`, `frozen`, which values it holds, and the method with its settings. */
const memberField = z.catchall(
  z.object(
    {
      id,
      frozen: z.optional(booleanField()),
      /** Content of the adapter whose values it holds (`shared/update/content.ts`): binds what frozen members are by the plan's own hash. */
      content: z.optional(digestField()),
      /** Model hash of the version that it was, where an earlier phase of a plan published it. */
      version: z.optional(digestField()),
      method: z.string({ error: methodError }),
    },
    {
      error:
        'a section with the fields id, method, perhaps frozen, content and version, and the settings of the method',
    },
  ),
  z.unknown(),
);
type MemberSettings = z.output<typeof memberField>;

/** The field `members`, with at least `atLeast` of them. */
export function membersField(atLeast: number) {
  const error = `a list of ${atLeast} to ${membersMax} members, each with id, method and the settings of the method`;
  return z
    .array(memberField, { error })
    .check(z.refine((list) => list.length >= atLeast && list.length <= membersMax, { error }));
}

/** Binds members and completes their configurations. @throws UsageError `bad-adapter` naming the member and its field. */
export function bindMembers(
  method: string,
  settings: readonly MemberSettings[],
  {
    base,
    bindMember,
    frozen = false,
  }: { readonly base: BaseDescription; readonly bindMember: BindMember; readonly frozen?: boolean },
): { readonly members: readonly Member[]; readonly configurations: readonly Plan['adapter'][] } {
  const problems: Problem[] = [];
  for (const [index, { id: own }] of settings.entries()) {
    if (settings.findIndex((other) => other.id === own) < index)
      problems.push({ path: `members[${index}].id`, sentence: `must differ from all before it, found "${own}" twice` });
  }
  if (problems.length > 0) refuseSettings(method, problems);
  const members: Member[] = [];
  const configurations: Plan['adapter'][] = [];
  for (const [index, { id: own, frozen: asked, content, version, ...configuration }] of settings.entries()) {
    const isFrozen = asked ?? frozen;
    const adapter = bindOne(method, index, () => bindMember(configuration, base));
    if (adapter.sideBySide !== undefined) {
      const sentence = `must be another: ${adapter.method} has several results for a text, so that it stands outermost alone`;
      refuseSettings(method, [{ path: `members[${index}].method`, sentence }]);
    }
    members.push({ id: own, frozen: isFrozen, adapter });
    const further = { ...(content === undefined ? {} : { content }), ...(version === undefined ? {} : { version }) };
    configurations.push({ id: own, frozen: isFrozen, ...further, ...adapter.configuration });
  }
  return { members, configurations };
}

function bindOne(method: string, index: number, bind: () => BoundAdapter): BoundAdapter {
  try {
    return bind();
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    const lines = thrown.message.split('\n').map((line) => `adapter ${method}: members[${index}]: ${line}`);
    throw new UsageError('bad-adapter', lines.join('\n'), { cause: thrown });
  }
}

/** What {@link composed} needs. */
export interface ComposedOptions {
  readonly method: string;
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly members: readonly Member[];
  /** Tensors of the composition itself, after those of its members. */
  readonly own?: {
    readonly tensors: readonly TensorSpecification[];
    readonly initialise: (specification: TensorSpecification, random: SeededRandom) => Float32Array;
  };
  /**
   * The hooks of the whole from those of the members, in their order. `still` are those of the same pass without what training draws, such as
   * dropout.
   */
  readonly hooks: (
    members: readonly AdapterHooks[],
    context: AdapterContext,
    still: () => readonly AdapterHooks[],
  ) => AdapterHooks;
  /** The pass of one member, from what it would see of the whole, where it sees only a part of the batch or of the sequence. */
  readonly partOf?: (context: AdapterContext, place: number) => AdapterContext;
  /**
   * How the members' changes of a map are one, where all of them merge: one after the other, or the sum of what each alone changes at these
   * weights. Absent where they are not.
   */
  readonly merges?: 'in-order' | readonly number[];
}

/** A composition as a bound adapter. */
export function composed(options: ComposedOptions): BoundAdapter {
  const { method, configuration, members, own, hooks, partOf, merges } = options;
  const memberTensors = members.flatMap((member) => member.adapter.tensors.map((tensor) => placed(member, tensor)));
  const virtualTokens = members.reduce((sum, { adapter }) => sum + (adapter.virtualTokens ?? 0), 0);
  const ownNames = new Set(own?.tensors.map(({ name }) => name));
  return {
    method,
    configuration: { method, ...configuration },
    tensors: [...memberTensors, ...(own?.tensors ?? [])],
    initialise: (specification, random) => {
      if (own !== undefined && ownNames.has(specification.name)) return own.initialise(specification, random);
      const dot = specification.name.indexOf('.');
      const member = members.find(({ id: prefix }) => prefix === specification.name.slice(0, dot))!;
      return member.adapter.initialise({ ...specification, name: specification.name.slice(dot + 1) }, random);
    },
    hooks: (context) => {
      const ofMembers = (pass: AdapterContext): AdapterHooks[] =>
        members.map((member, place) => {
          const whole = memberContext(member, pass);
          return member.adapter.hooks(partOf?.(whole, place) ?? whole);
        });
      return hooks(ofMembers(context), context, () => ofMembers({ ...context, training: false }));
    },
    ...(virtualTokens === 0 ? {} : { virtualTokens }),
    ...(merges === undefined ? {} : merges === 'in-order' ? mergesInOrder(members) : mergesWeighed(members, merges)),
  };
}

/** Merging in order and unmerging in reverse, where all members can. */
function mergesInOrder(members: readonly Member[]): Pick<BoundAdapter, 'merge' | 'unmerge'> {
  const merge = chained(members, 'merge');
  const unmerge = chained([...members].reverse(), 'unmerge');
  return { ...(merge && { merge }), ...(unmerge && { unmerge }) };
}

/** What members change in a frozen map, with the names of their tensors; null where one has no such change. */
function changesOf(members: readonly Member[], direction: 'merge' | 'unmerge') {
  const changes = members.flatMap(({ id: prefix, adapter: { [direction]: change } }) =>
    change === undefined ? [] : [{ prefix, change }],
  );
  return changes.length < members.length ? null : changes;
}

/** W + Σ w_i (W_i − W), where all members merge. It is not undone one by one, since W_i may be a multiple of W. */
function mergesWeighed(members: readonly Member[], weights: readonly number[]): Pick<BoundAdapter, 'merge'> {
  const changes = changesOf(members, 'merge');
  if (changes === null) return {};
  const sum = (values: Float32Array, merged: readonly (Float32Array | undefined)[]): Float32Array =>
    values.map((value, index) =>
      merged.reduce((total, one, place) => total + weights[place]! * ((one?.[index] ?? value) - value), value),
    );
  return {
    merge: (site, map, parameters) => {
      const merged = changes.map(({ prefix, change }) => change(site, map, tensorsBelow(prefix, parameters)));
      if (merged.every((one) => one === undefined)) return undefined;
      const kernel = sum(
        map.kernel,
        merged.map((one) => one?.kernel),
      );
      const biases = merged.map((one) => one?.bias ?? undefined);
      const none = biases.find((bias) => bias !== undefined)?.map(() => 0) ?? null;
      const bias = map.bias ?? none;
      return { kernel, bias: bias === null ? null : sum(bias, biases) };
    },
  };
}

/** The members' changes of one frozen map, one after the other; null where a member has none. */
function chained(members: readonly Member[], direction: 'merge' | 'unmerge'): BoundMapChange | null {
  const changes = changesOf(members, direction);
  if (changes === null) return null;
  return (site, map, parameters) => {
    let current: LinearWeights | undefined;
    for (const { prefix, change } of changes)
      current = change(site, current ?? map, tensorsBelow(prefix, parameters)) ?? current;
    return current;
  };
}

/** The entries whose names begin with `prefix.`, by the rest of their names. */
function tensorsBelow<Value>(prefix: string, tensors: ReadonlyMap<string, Value>): Map<string, Value> {
  const start = `${prefix}.`;
  const own = new Map<string, Value>();
  for (const [name, value] of tensors) if (name.startsWith(start)) own.set(name.slice(start.length), value);
  return own;
}

/** A member's tensor in the layout of the whole. */
function placed({ id: prefix, frozen }: Member, tensor: TensorSpecification): TensorSpecification {
  const { countName, countIndex, countAxis, foldInto, pair, ...rest } = tensor;
  const named = {
    ...rest,
    name: `${prefix}.${rest.name}`,
    ...(pair === undefined ? {} : { pair: { ...pair, name: `${prefix}.${pair.name}` } }),
  };
  if (frozen) return { ...named, aggregationClass: 'frozen', decays: false };
  return {
    ...named,
    ...(countName === undefined ? {} : { countName: `${prefix}.${countName}` }),
    ...(countIndex === undefined ? {} : { countIndex }),
    ...(countAxis === undefined ? {} : { countAxis }),
    ...(foldInto === undefined ? {} : { foldInto: foldInto.map((name) => `${prefix}.${name}`) }),
  };
}

/** What a member sees of a pass: its own tensors by their own names; a frozen one neither drops out nor adds losses. */
function memberContext({ id: prefix, frozen }: Member, context: AdapterContext): AdapterContext {
  const { parameters, random, training, addLoss, observe, ...rest } = context;
  const start = `${prefix}.`;
  const own = tensorsBelow(prefix, parameters);
  if (frozen) for (const tensor of own.values()) markConstant(tensor);
  return {
    ...rest,
    parameters: own,
    training: training && !frozen,
    random: random.fork('member', prefix),
    ...(addLoss === undefined || frozen ? {} : { addLoss: (name, loss) => addLoss(`${start}${name}`, loss) }),
    ...(observe === undefined ? {} : { observe: (name, value) => observe(`${start}${name}`, value) }),
  };
}

/** Which hooks a member has, seen without any parameters. */
export function hooksOf({ adapter }: Member): AdapterHooks {
  return adapter.hooks({ parameters: new Map(), training: false, random: seededRandom(0) });
}

/**
 * Refuses members that act in ways a composition cannot combine: `allowed` are hooks it can, of `sublayer` only what has a change.
 * @throws UsageError `bad-adapter` naming the member.
 */
export function refuseOtherHooks(
  method: string,
  members: readonly Member[],
  allowed: readonly ('linear' | 'sublayer')[],
): void {
  const where = { linear: 'at linear maps', sublayer: 'on what a sublayer puts out, before the norm' } as const;
  const wanted = allowed.map((hook) => where[hook]).join(' or ');
  const problems = members.flatMap((member, index): Problem[] => {
    if (actsOnlyBy(hooksOf(member), allowed)) return [];
    const sentence = `must act ${wanted} to stand in ${method}; ${member.adapter.method} as configured here does not`;
    return [{ path: `members[${index}].method`, sentence }];
  });
  if (problems.length > 0) refuseSettings(method, problems);
}

/** Whether hooks are of the `allowed` kinds alone, of `sublayer` only what has a change. */
export function actsOnlyBy(hooks: AdapterHooks, allowed: readonly ('linear' | 'sublayer')[]): boolean {
  return acts.every((hook) => hooks[hook] === undefined || allowed.some((one) => one === hook && hasForm(one, hooks)));
}

/** What acts on a base. */
const acts: readonly (keyof SiteHooks)[] = [
  'linear',
  'sublayer',
  'words',
  'embedding',
  'output',
  'keysAndValues',
  'weight',
];

function hasForm(hook: 'linear' | 'sublayer', hooks: AdapterHooks): boolean {
  return hook === 'linear' || hooks.change !== undefined;
}

/** Places of members whose sublayer hook has no change, which can only come last in a chain. */
export function unchained(members: readonly Member[]): readonly number[] {
  const has = members.map((member) => hooksOf(member));
  const acting = has.flatMap(({ sublayer }, index) => (sublayer === undefined ? [] : [index]));
  return acting.slice(0, -1).filter((index) => has[index]!.change === undefined);
}

/** How far down the base any of some hooks acts, and on which linear maps. */
export function reachOf(hooks: readonly AdapterHooks[]): Pick<AdapterHooks, 'lowestLayerIndex' | 'linearTargets'> {
  const acting = hooks.filter((one) => one.linear ?? one.sublayer ?? one.keysAndValues);
  const linear = hooks.filter((one) => one.linear !== undefined);
  const lowest = { lowestLayerIndex: Math.min(...acting.map(({ lowestLayerIndex = 0 }) => lowestLayerIndex)) };
  const targets = linear.map(({ linearTargets }) => linearTargets);
  return {
    ...(acting.length === 0 ? {} : lowest),
    ...(linear.length === 0 || targets.includes(undefined)
      ? {}
      : { linearTargets: new Set(targets.flatMap((set) => [...set!])) }),
  };
}
