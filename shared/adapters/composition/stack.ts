/**
 * Adapters one after the other (Pfeiffer 2020, MAD-X, section 4: a language adapter below a task adapter; `Stack` of AdapterHub). At the end
 * of a sublayer each member reads what the one before left: h_i = h_{i-1} + c_i(h_{i-1}, x), all `[batch, sequence, hidden]`, and the last result is normed once. At a linear
 * map each adds to the output of the one before. States in front of the first layer pass the members in order, those in front of the
 * language-model head in reverse, so that an invertible member is undone last; prefixes stand side by side in order, and changes of the base's
 * own tensors add up.
 */
import { add, concat, eye, sub, type Tensor, type Tensor2D, type Tensor3D, zerosLike } from '@tensorflow/tfjs-core';
import type { FrozenMap, LinearSite, MaskedStates, SiteHooks } from '../../model/base-model.ts';
import { sectionField } from '../../plan/fields.ts';
import { parseSettings, refuseSettings } from '../settings.ts';
import { type AdapterHooks, finishSublayer, type SublayerChange, sublayerChange } from '../sublayer-change.ts';
import { bindMembers, type CompositionBinder, composed, membersField, reachOf, unchained } from './members.ts';

const schema = sectionField({ members: membersField(1) });

/** Binds `stack`. Every method may be a member; one that acts after the host's norm only as the last. */
export const bindStack: CompositionBinder = (value, base, bindMember) => {
  const settings = parseSettings('stack', schema, value);
  const { members, configurations } = bindMembers('stack', settings.members, { base, bindMember });
  const misplaced = unchained(members).map((index) => ({
    path: `members[${index}]`,
    sentence: `must be the last that acts at the ends of sublayers, since ${members[index]!.adapter.method} as configured here acts after the norm`,
  }));
  if (misplaced.length > 0) refuseSettings('stack', misplaced);
  const configuration = { members: configurations };
  return composed({
    method: 'stack',
    configuration,
    members,
    hooks: (hooks, _, still) => stackHooks(hooks, still),
    merges: 'in-order',
  });
};

/** The hooks of adapters one after the other; `still` gives those without what training draws. */
export function stackHooks(
  members: readonly AdapterHooks[],
  still: () => readonly AdapterHooks[] = () => members,
): AdapterHooks {
  const having = <Name extends keyof AdapterHooks>(name: Name): Exclude<AdapterHooks[Name], undefined>[] =>
    members.flatMap(({ [name]: hook }) => (hook === undefined ? [] : [hook as Exclude<AdapterHooks[Name], undefined>]));
  const words = having('words');
  const embedding = having('embedding');
  const output = having('output').reverse();
  const prefixes = having('keysAndValues');
  const weights = having('weight');
  const starts = having('positionStart');
  return {
    ...reachOf(members),
    ...(having('linear').length === 0 ? {} : { linear: chainLinear(members, still()) }),
    ...chainSublayers(members.filter(({ sublayer }) => sublayer !== undefined)),
    ...(words.length === 0 ? {} : { words: chainStates(words) }),
    ...(embedding.length === 0 ? {} : { embedding: chainStates(embedding) }),
    ...(output.length === 0
      ? {}
      : { output: (hidden: Tensor3D) => output.reduce((state, hook) => hook(state), hidden) }),
    ...(prefixes.length === 0 ? {} : { keysAndValues: joinPrefixes(prefixes) }),
    ...(weights.length === 0 ? {} : { weight: chainWeights(weights) }),
    ...(starts.length === 0 ? {} : { positionStart: starts.reduce((sum, start) => sum + start, 0) }),
  };
}

type LinearHook = NonNullable<SiteHooks['linear']>;

/**
 * A later member sees the map as earlier ones changed it, also where it runs it on another input. The parts that it reads are those without
 * the dropout of earlier ones: DoRA norms what W is, not what a pass makes of it.
 */
function chainLinear(members: readonly AdapterHooks[], still: readonly AdapterHooks[]): LinearHook {
  return (site, input, output, map) => {
    let state: Tensor2D | undefined;
    let [seen, quiet] = [map, map];
    for (const [place, { linear, linearTargets }] of members.entries()) {
      if (linear === undefined || linearTargets?.has(site.target) === false) continue;
      const replaced = linear(site, input, state ?? output, seen);
      if (replaced === undefined) continue;
      state = replaced;
      const [before, calm] = [seen, quiet];
      quiet = changedMap(input.shape[1], appliedBy(still[place]!.linear!, site, calm));
      seen = { ...quiet, apply: appliedBy(linear, site, before) };
    }
    return state;
  };
}

/** What a member makes of a map on any input. */
function appliedBy(linear: LinearHook, site: LinearSite, map: FrozenMap): FrozenMap['apply'] {
  return (input) => {
    const frozen = map.apply(input);
    return linear(site, input, frozen, map) ?? frozen;
  };
}

/** A map from rows of `inSize` numbers of which only what it gives is known: its bias is what it makes of 0. */
function changedMap(inSize: number, apply: FrozenMap['apply']): FrozenMap {
  const bias = (input: Tensor2D): Tensor2D => apply(zerosLike(input));
  const kernel = (): Tensor2D => {
    const units: Tensor2D = eye(inSize);
    return sub(apply(units), bias(units));
  };
  return { apply, bias, kernel };
}

function chainSublayers(members: readonly AdapterHooks[]): Pick<AdapterHooks, 'change' | 'sublayer'> {
  if (members.length === 0) return {};
  const changes = members.flatMap(({ change }) => (change === undefined ? [] : [change]));
  const chained: SublayerChange = (site, output, residual, norm) => {
    let sum: Tensor3D | undefined;
    for (const change of changes) {
      const state = sum === undefined ? output : add(output, sum);
      const added = change(site, state as Tensor3D, residual, norm);
      if (added !== undefined) sum = sum === undefined ? added : add(sum, added);
    }
    return sum;
  };
  const last = members.at(-1)!;
  if (last.change !== undefined) return sublayerChange(chained);
  return {
    sublayer: (site, output, residual, norm) => {
      const added = chained(site, output, residual, norm);
      const state: Tensor3D = added === undefined ? output : add(output, added);
      const replaced = last.sublayer!(site, state, residual, norm);
      return replaced ?? (added === undefined ? undefined : finishSublayer(state, residual, norm));
    },
  };
}

type StatesHook = NonNullable<SiteHooks['embedding']>;

function chainStates(hooks: readonly StatesHook[]): StatesHook {
  return (states, mask) => {
    let current: MaskedStates | undefined;
    for (const hook of hooks) current = hook(current?.states ?? states, current?.mask ?? mask) ?? current;
    return current;
  };
}

type WeightHook = NonNullable<SiteHooks['weight']>;

function chainWeights(hooks: readonly WeightHook[]): WeightHook {
  return (name, frozen) => {
    let current: Tensor | undefined;
    for (const hook of hooks) current = hook(name, current ?? frozen) ?? current;
    return current;
  };
}

type PrefixHook = NonNullable<SiteHooks['keysAndValues']>;

function joinPrefixes(hooks: readonly PrefixHook[]): PrefixHook {
  return (site, batchSize) => {
    const prefixes = hooks.map((hook) => hook(site, batchSize)).filter((prefix) => prefix !== undefined);
    if (prefixes.length === 0) return undefined;
    const join = (part: 'keys' | 'values') =>
      concat(
        prefixes.map((prefix) => prefix[part]),
        1,
      );
    return { keys: join('keys'), values: join('values') };
  };
}
