/**
 * Every adapter method as the property tests of aggregation take it (a) to (g): settings that show all that it trains, what of it the weighted mean
 * gets exactly, and in which simpler form it is served. Where a property cannot apply, the reason stands in its place.
 */

import type { ExchangeSettings } from '../../shared/update/federated-layout.ts';
import { type Effect, effectOf, every, type Values, weighted } from './effects.ts';

/** One method with settings. */
export interface MethodCase {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly aggregation?: Partial<ExchangeSettings>;
  /**
   * (d): what a weighted mean must get right, computed from the parameters of one client by arithmetic of its own, and why nothing more is linear.
   * `maps`: every frozen map with the adapter merged into it.
   */
  readonly exact: 'maps' | ((parameters: Values) => readonly Effect[]);
  /** What of the method is not linear, so that its mean is only near that of the functions; absent where all is. */
  readonly limits?: string;
  /** Whether without `aggregation` the same is off by more than a hundredth: that a mean of factors is none of products. */
  readonly biasedWithout?: true;
}

/** (f) of one method: the form in which it is served, or why it has none but its own. */
export type ServedForm =
  | { readonly form: 'merged'; readonly settings?: Readonly<Record<string, unknown>> }
  | { readonly form: 'ejected'; readonly settings: Readonly<Record<string, unknown>> }
  | { readonly form: 'own'; readonly settings?: Readonly<Record<string, unknown>>; readonly why: string };

const bottlenecks = ['one', 'two'].map((id) => ({ id, method: 'bottleneck', size: 4, scaling: 'learned' }));
const frozen = bottlenecks.map((member) => ({ ...member, frozen: true }));
const hidden = 'the bottleneck between its two maps is not linear';
/** s ∘ W_up and s ∘ c_up of every bottleneck, and all else that it trains as it is. */
const scaledUp = (parameters: Values): Effect[] => {
  return [...parameters].flatMap(([name, values]) => {
    const scale = parameters.get(name.replace(/\.up\.(kernel|bias)$/, '.scale'));
    if (name.endsWith('.scale')) return [];
    if (scale === undefined || !/\.up\.(kernel|bias)$/.test(name)) return effectOf(name, values);
    return effectOf(
      name,
      Array.from(values, (value, index) => value * scale[index % scale.length]!),
    );
  });
};
/** Experts by use, and what is shared as it is. */
const byUse = (parameters: Values): Effect[] =>
  weighted(parameters, /^(.*)\.experts\.(\d+)\./, ([, site, place]) => parameters.get(`${site}.uses`)![Number(place)]!);

/** B A of every pair below a member, times `scale`. */
const products = (parameters: Values): Effect[] =>
  [...parameters].flatMap(([name, a]) => {
    const b = parameters.get(name.replace(/\.a$/, '.b'));
    if (!name.endsWith('.lora.a') || b === undefined) return [];
    const rank = 2;
    const inSize = a.length / rank;
    return effectOf(
      name,
      Array.from({ length: (b.length / rank) * inSize }, (_, place) => {
        const [row, column] = [Math.floor(place / inSize), place % inSize];
        return [0, 1].reduce((sum, index) => sum + b[row * rank + index]! * a[index * inSize + column]!, 0);
      }),
    );
  });

/** W of every map of a Compacter, [in, out] each: Σ_i A_i ⊗ (s_i t_iᵀ). */
const kroneckerSums = (parameters: Values): Effect[] => {
  const rule = parameters.get('compacter.rule')!;
  const n = Math.round(Math.cbrt(rule.length));
  return [...parameters].flatMap(([name, left]) => {
    if (name.endsWith('.bias')) return effectOf(name, left);
    const right = parameters.get(name.replace(/\.left$/, '.right'));
    if (!name.endsWith('.left') || right === undefined) return [];
    const [rows, columns] = [left.length / n, right.length / n];
    const map: number[] = [];
    for (let a = 0; a < n; a++)
      for (let row = 0; row < rows; row++)
        for (let b = 0; b < n; b++)
          for (let column = 0; column < columns; column++) {
            let sum = 0;
            for (let i = 0; i < n; i++)
              sum += rule[(i * n + a) * n + b]! * left[i * rows + row]! * right[i * columns + column]!;
            map.push(sum);
          }
    return effectOf(name, map);
  });
};

/** W_q W_kᵀ, by which fusion scores, and what fusion trains beside it. */
const scoring = (parameters: Values): Effect[] =>
  [...parameters].flatMap(([name, query]) => {
    if (!name.startsWith('fusion.') || name.includes('.key.')) return [];
    const key = parameters.get(name.replace('.query.', '.key.'));
    if (!name.endsWith('.query.kernel') || key === undefined) return effectOf(name, query);
    const size = Math.round(Math.sqrt(query.length));
    return effectOf(
      name,
      Array.from({ length: size ** 2 }, (_, place) => {
        const [row, other] = [Math.floor(place / size), place % size];
        let sum = 0;
        for (let inner = 0; inner < size; inner++) sum += query[row * size + inner]! * key[other * size + inner]!;
        return sum;
      }),
    );
  });

/** The cases of every method of the registry. */
export const methodCases: Readonly<Record<string, readonly MethodCase[]>> = {
  none: [{ exact: every }],
  bottleneck: [
    { settings: { size: 4, scaling: 'channel', gate: true, normBefore: true }, exact: scaledUp, limits: hidden },
    { settings: { placement: 'houlsby', size: 3, scaling: 'learned' }, exact: scaledUp, limits: hidden },
    { settings: { placement: 'adapterplus', size: 3, normAfter: true }, exact: scaledUp, limits: hidden },
  ],
  compacter: [
    { settings: { trains: 'left' }, exact: kroneckerSums, limits: hidden },
    {
      settings: { placement: 'houlsby' },
      aggregation: { frozen: ['compacter.rule', 'layers.*.*.compacter.*.right'] },
      exact: kroneckerSums,
      limits: hidden,
      biasedWithout: true,
    },
  ],
  lora: [
    { settings: { rank: 2 }, aggregation: { lowRank: 'freeze-a' }, exact: 'maps', biasedWithout: true },
    {
      settings: {
        targets: 'all-linear',
        rank: 3,
        rankStabilised: true,
        rankPattern: { up: 1 },
        alphaPattern: { q: 4 },
      },
      aggregation: { lowRank: 'dense', publishedRank: 16 },
      exact: 'maps',
      biasedWithout: true,
    },
  ],
  dora: [
    {
      settings: { rank: 2 },
      aggregation: { frozen: ['layers.*.*.lora.a'] },
      exact: every,
      limits: 'the norm by which the map is divided; B and the magnitude are exact means of one start',
    },
  ],
  vera: [
    { settings: { rank: 4 }, aggregation: { frozen: ['layers.*.*.vera.d'] }, exact: 'maps', biasedWithout: true },
    { settings: { rank: 4, trains: 'b', projections: 'stored' }, exact: 'maps' },
  ],
  ia3: [{ exact: 'maps' }, { settings: { variant: 'adapterhub' }, exact: 'maps' }],
  bias: [{ exact: 'maps' }],
  full: [{ exact: every }],
  prefix: [
    { settings: { length: 3 }, exact: every },
    {
      settings: { length: 3, networkSize: 4 },
      exact: every,
      limits:
        'the network that makes the prefix; from one start the mean of its parameters is near the mean of prefixes',
    },
  ],
  prompt: [{ settings: { length: 3 }, exact: every }],
  invertible: [{ settings: { coupling: 'glow' }, exact: every, limits: 'the couplings' }],
  hyperformer: [
    {
      settings: { tasks: ['first', 'second'], embeddingSize: 3, projectionHidden: 4, projectionSize: 4 },
      exact: (parameters) =>
        weighted(parameters, /^hypernetwork\.tasks\.(.+)$/, ([, task]) => {
          return parameters.get('hypernetwork.uses')![task === 'first' ? 0 : 1]!;
        }),
      limits: 'what the network makes of the vectors; the vector of a task is that of the sites that trained it',
    },
    {
      settings: { task: 'instance', embeddingSize: 3, projectionHidden: 4, projectionSize: 4 },
      exact: every,
      limits: 'what the network makes of the vectors',
    },
  ],
  mixture: [
    {
      settings: { size: 3, noise: true },
      exact: byUse,
      limits: 'the choice of experts; an expert is that of the sites by how much they used it',
    },
  ],
  stack: [
    {
      settings: {
        members: [
          { id: 'one', method: 'lora', rank: 2 },
          { id: 'two', method: 'bias' },
        ],
      },
      aggregation: { lowRank: 'freeze-a' },
      exact: 'maps',
      biasedWithout: true,
    },
    { settings: { members: [bottlenecks[0], { id: 'two', method: 'mixture', size: 3 }] }, exact: byUse },
  ],
  fuse: [
    {
      settings: { members: frozen },
      aggregation: { frozen: ['fusion.layers.*.*.key'] },
      exact: scoring,
      limits:
        'the attention over members, which are frozen and named by their content, so that all sites fuse the same',
      biasedWithout: true,
    },
    {
      settings: { members: bottlenecks.map((member) => ({ ...member, frozen: false })) },
      exact: scaledUp,
      limits: hidden,
    },
  ],
  average: [
    {
      settings: { members: ['one', 'two'].map((id) => ({ id, method: 'lora', rank: 2 })), weights: [1, 3] },
      aggregation: { lowRank: 'freeze-a' },
      exact: products,
      biasedWithout: true,
    },
    { settings: { members: bottlenecks, learning: 'shared' }, exact: scaledUp, limits: 'the softmax over weights' },
    { settings: { members: frozen, learning: 'personal' }, exact: () => [], limits: 'weights that never leave a site' },
  ],
  gate: [{ settings: { members: bottlenecks.slice(0, 1), penalty: 0.1 }, exact: scaledUp, limits: 'the gates' }],
  split: [{ settings: { members: bottlenecks, at: [3] }, exact: scaledUp, limits: hidden }],
  'batch-split': [{ settings: { members: bottlenecks }, exact: scaledUp, limits: hidden }],
  parallel: [{ settings: { members: bottlenecks }, exact: scaledUp, limits: hidden }],
};

const loras = ['one', 'two'].map((id) => ({ id, method: 'lora' }));
const notLinear = 'what it does at a place is no linear map, so that it is served as it is';
const chooses = 'who acts depends on the text or the row, so that it is served as it is';

/** (f) for every method of the registry. */
export const servedForms: Readonly<Record<string, ServedForm>> = {
  none: { form: 'own', why: 'the base is served as it is' },
  bottleneck: { form: 'own', why: notLinear },
  compacter: { form: 'own', why: notLinear },
  lora: { form: 'merged', settings: { targets: 'all-linear', rank: 2 } },
  dora: { form: 'merged', settings: { targets: 'all-linear', rank: 2 } },
  vera: { form: 'merged', settings: { targets: 'all-linear', rank: 4 } },
  ia3: { form: 'merged' },
  bias: { form: 'merged' },
  full: { form: 'own', why: 'a merge adds it to every tensor of the checkpoint (test/shared/adapters/full.test.ts)' },
  prefix: { form: 'ejected', settings: { length: 3, networkSize: 4 } },
  prompt: { form: 'own', why: 'vectors in front of the text change no map' },
  invertible: { form: 'own', why: notLinear },
  hyperformer: { form: 'own', why: notLinear },
  mixture: { form: 'own', why: chooses },
  stack: {
    form: 'merged',
    settings: {
      members: [
        { id: 'one', method: 'lora', rank: 2, targets: 'all-linear' },
        { id: 'two', method: 'ia3', outputs: ['o'], inputs: ['down'] },
        { id: 'three', method: 'dora', rank: 2, targets: ['o', 'down'] },
      ],
    },
  },
  fuse: { form: 'own', settings: { members: bottlenecks }, why: chooses },
  average: {
    form: 'merged',
    settings: {
      members: [
        { id: 'one', method: 'lora', rank: 2, targets: 'all-linear' },
        { id: 'two', method: 'dora', rank: 2, targets: ['o', 'down'] },
      ],
      weights: [3, 1],
    },
  },
  gate: {
    form: 'own',
    settings: { members: loras.slice(1), penalty: 0 },
    why: 'a gate multiplies what a member changes; a closed one runs nothing',
  },
  split: { form: 'own', settings: { members: bottlenecks, at: [3] }, why: chooses },
  'batch-split': { form: 'own', settings: { members: loras }, why: chooses },
  parallel: { form: 'own', settings: { members: loras }, why: 'several results for a text' },
};
