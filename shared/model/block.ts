/**
 * One block of a transformer: attention and feed-forward, each with its residual and its norm, and the sites within at which adapters act.
 */
import { concat, pad, reshape, slice, split, type Tensor2D, type Tensor3D } from '@tensorflow/tfjs-core';
import { type AttentionShape, attention, attentionOnSeen, fusedAttention } from '../compute/attention.ts';
import { type Rotation, rotate } from '../compute/rotary.ts';
import { takeRows } from '../compute/rows.ts';
import { reshaped, residualSum } from '../compute/without-saving.ts';
import { futureMask } from './attention-mask.ts';
import type { BaseDescription, FrozenMap, LinearTarget, Prefix, SiteHooks, Sublayer } from './base-model.ts';
import type { LayerCache } from './key-value-cache.ts';
import type { NamedLinear, NamedNorm } from './named-weights.ts';

/** The query, key and value maps of a block: three, or one whose output is their concatenation. */
export type Projections =
  | { readonly kind: 'separate'; readonly q: NamedLinear; readonly k: NamedLinear; readonly v: NamedLinear }
  | { readonly kind: 'fused'; readonly qkv: NamedLinear };

/** From the input of a feed-forward to what its last map reads. */
export type FeedForward =
  | { readonly kind: 'plain'; readonly up: NamedLinear; readonly activation: (input: Tensor2D) => Tensor2D }
  | {
      readonly kind: 'gated';
      readonly gate: NamedLinear;
      readonly up: NamedLinear;
      readonly activation: (gate: Tensor2D, up: Tensor2D) => Tensor2D;
    };

/** The frozen parts of one block. */
export interface Block {
  readonly projections: Projections;
  /** Norms over every head of queries and of keys, where the family has them. */
  readonly headNorms?: { readonly q: NamedNorm; readonly k: NamedNorm };
  readonly o: NamedLinear;
  readonly feedForward: FeedForward;
  readonly down: NamedLinear;
  /** Of the attention and of the feed-forward: before the sublayer or after its residual sum, as `description.norm` says. */
  readonly norms: Readonly<Record<Sublayer, NamedNorm>>;
}

/** What a block needs beside its input. */
export interface Pass {
  readonly description: BaseDescription;
  readonly hooks: SiteHooks;
  readonly shape: AttentionShape;
  /** Added to the scores of tokens, as `attentionMaskOf` gives it; not read where there is a cache. */
  readonly mask: Tensor3D | null;
  /** What turns queries and keys, where positions are rotations. */
  readonly rotation: Rotation | null;
  /** What earlier tokens left in every layer; null where all tokens come at once. */
  readonly seen: readonly LayerCache[] | null;
  /** The only tokens that the last block computes; null for all. */
  readonly reads: Reading | null;
}

/** One token of every text, whose queries see what its text shows them. */
export interface Reading {
  /** Rows of the tokens among those of the whole batch. */
  readonly rows: readonly number[];
  readonly shape: AttentionShape;
  /** `[batch * heads, 1, sequence]`. */
  readonly mask: Tensor3D;
}

/** A block with its place. */
interface PlacedBlock {
  readonly block: Block;
  readonly layerIndex: number;
}

/** Runs a block on `[batch * sequence, hidden]`; the last one gives the tokens of `reads` alone. */
export function runBlock(rows: Tensor2D, block: Block, layerIndex: number, whole: Pass): Tensor2D {
  const placed = { block, layerIndex };
  const pass = layerIndex + 1 === whole.description.layerCount ? whole : { ...whole, reads: null };
  const { reads } = pass;
  const own = reads === null ? rows : takeRows(rows, reads.rows);
  const attended = runSublayer(own, placed, 'attention', pass, (norm) => attend(norm(rows), placed, pass));
  return runSublayer(attended, placed, 'feedForward', pass, (norm) => {
    const input = norm(attended);
    const linear = (map: NamedLinear, target: LinearTarget) => applyLinear(map, target, input, layerIndex, pass);
    const { feedForward, down } = block;
    const inner =
      feedForward.kind === 'plain'
        ? feedForward.activation(linear(feedForward.up, 'up'))
        : feedForward.activation(linear(feedForward.gate, 'gate'), linear(feedForward.up, 'up'));
    return applyLinear(down, 'down', inner, layerIndex, pass);
  });
}

/** Frees the weights of a block. */
export function disposeBlock({ projections, headNorms, o, feedForward, down, norms }: Block): void {
  const maps = projections.kind === 'separate' ? [projections.q, projections.k, projections.v] : [projections.qkv];
  const inner = feedForward.kind === 'gated' ? [feedForward.gate, feedForward.up] : [feedForward.up];
  for (const part of [...maps, headNorms?.q, headNorms?.k, o, ...inner, down, norms.attention, norms.feedForward])
    part?.dispose();
}

/** One sublayer with its residual and its norm, and the hook at its end. `compute` gets what makes its input of the rows that enter it. */
function runSublayer(
  residual: Tensor2D,
  { block, layerIndex }: PlacedBlock,
  sublayer: Sublayer,
  { description, hooks, reads, shape: every }: Pass,
  compute: (norm: (rows: Tensor2D) => Tensor2D) => Tensor2D,
): Tensor2D {
  const { norm: placement, hiddenSize } = description;
  const norm = (input: Tensor2D): Tensor2D => block.norms[sublayer].apply(input, hooks.weight);
  const output = compute(placement === 'pre' ? norm : (rows) => rows);
  if (hooks.sublayer !== undefined) {
    const shape = reads?.shape ?? every;
    const unrolled = (rows: Tensor2D): Tensor3D => reshaped(rows, [shape.batchSize, shape.sequenceLength, hiddenSize]);
    // Of any shape: compositions give it some rows of the batch, or some stretch of the sequence.
    const hostNorm =
      placement === 'post' ? (input: Tensor3D): Tensor3D => reshaped(norm(rolled(input)), input.shape) : undefined;
    const replaced = hooks.sublayer({ layerIndex, sublayer }, unrolled(output), unrolled(residual), hostNorm);
    if (replaced !== undefined) return rolled(replaced);
  }
  const summed = residualSum(output, residual);
  return placement === 'post' ? norm(summed) : summed;
}

function attend(input: Tensor2D, placed: PlacedBlock, pass: Pass): Tensor2D {
  const { projections, o } = placed.block;
  const { layerIndex } = placed;
  const linear = (map: NamedLinear, target: LinearTarget, rows = input) =>
    applyLinear(map, target, rows, layerIndex, pass);
  // A prefix stands in front once: what was seen before has it already.
  const isFirst = pass.seen === null || pass.seen[layerIndex]!.isEmpty();
  const prefix = isFirst ? pass.hooks.keysAndValues?.({ layerIndex }, pass.shape.batchSize) : undefined;
  const prefixed = { ...placed, prefix };
  // Queries are turned by where they stand, all together.
  const asking = pass.reads === null || pass.rotation !== null ? input : takeRows(input, pass.reads.rows);
  const mixed =
    projections.kind === 'separate'
      ? mix(
          [linear(projections.q, 'q', asking), linear(projections.k, 'k'), linear(projections.v, 'v')],
          prefixed,
          pass,
        )
      : attendFused(input, projections.qkv, linear(projections.qkv, 'qkv'), prefixed, pass);
  return applyLinear(o, 'o', mixed, layerIndex, pass);
}

/** A block with what stands in front of its keys and values. */
interface PrefixedBlock extends PlacedBlock {
  readonly prefix: Prefix | undefined;
}

/** Queries, keys and values of a block, one row per token. */
type Threefold = readonly [q: Tensor2D, k: Tensor2D, v: Tensor2D];

/** Attention, with a prefix in front of keys and values where there is one, and with what was seen before. */
function mix(bare: Threefold, { block, layerIndex, prefix }: PrefixedBlock, pass: Pass): Tensor2D {
  const { shape, mask, rotation, seen, reads } = pass;
  const placed = (rows: Tensor2D, norm: NamedNorm | undefined): Tensor2D => {
    const normed = norm === undefined ? rows : perHead(norm, rows, pass);
    return rotation === null ? normed : rotate(normed, rotation);
  };
  const queries = placed(bare[0], block.headNorms?.q);
  const q = reads === null || queries.shape[0] === reads.rows.length ? queries : takeRows(queries, reads.rows);
  let k = placed(bare[1], block.headNorms?.k);
  let v = bare[2];
  if (prefix !== undefined) {
    k = inFront(prefix.keys, k, shape);
    v = inFront(prefix.values, v, shape);
  }
  const cache = seen?.[layerIndex];
  if (cache !== undefined) {
    const all = cache.append(k, v, shape);
    const { sequenceLength } = shape;
    // The only token sees all that came before it.
    const future = sequenceLength === 1 ? null : futureMask(sequenceLength, all.values.shape[1]);
    return attentionOnSeen(q, all, future, shape);
  }
  const own = reads?.mask ?? mask!;
  const shown = prefix === undefined ? own : widened(own, prefix.keys.shape[1]);
  return attention(q, k, v, shown, reads?.shape ?? shape);
}

function perHead(norm: NamedNorm, rows: Tensor2D, { description, hooks }: Pass): Tensor2D {
  const heads: Tensor2D = reshaped(rows, [-1, description.headSize]);
  return reshaped(norm.apply(heads, hooks.weight), rows.shape);
}

function inFront(front: Tensor3D, rows: Tensor2D, { batchSize, sequenceLength }: AttentionShape): Tensor2D {
  const own: Tensor3D = reshape(rows, [batchSize, sequenceLength, -1]);
  return rolled(concat([front, own], 1));
}

/** A mask with `count` more tokens in front, which all see. */
function widened(mask: Tensor3D, count: number): Tensor3D {
  return pad(mask, [
    [0, 0],
    [0, 0],
    [count, 0],
  ]);
}

/** Attention on a fused projection. It is cut into its parts only where something acts on one of them. */
function attendFused(input: Tensor2D, map: NamedLinear, fused: Tensor2D, placed: PrefixedBlock, pass: Pass): Tensor2D {
  const { linear, linearTargets } = pass.hooks;
  const targets = ['q', 'k', 'v'] as const;
  const mayAct = targets.map((target) => linear !== undefined && (linearTargets?.has(target) ?? true));
  const isWhole = placed.prefix === undefined && pass.seen === null && pass.reads === null;
  if (isWhole && !mayAct.includes(true)) return fusedAttention(fused, pass.mask!, pass.shape);
  const parts: Tensor2D[] = split(fused, 3, 1);
  const replaced = parts.map((part, index) => {
    if (!mayAct[index]) return undefined;
    const site = { layerIndex: placed.layerIndex, target: targets[index]! };
    return linear?.(site, input, part, columnsOf(map, index, 3));
  });
  if (isWhole && replaced.every((part) => part === undefined)) return fusedAttention(fused, pass.mask!, pass.shape);
  const [q, k, v] = parts.map((part, index) => replaced[index] ?? part);
  return mix([q!, k!, v!], placed, pass);
}

/** One of `count` equal parts of a map's output, as a map. */
function columnsOf(map: NamedLinear, index: number, count: number): FrozenMap {
  const size = map.outSize / count;
  return {
    apply: (input) => slice(map.apply(input), [0, index * size], [-1, size]),
    kernel: () => slice(map.kernel(), [0, index * size], [-1, size]),
    bias: (input) => {
      const bias = map.bias(input);
      return bias === null ? null : slice(bias, index * size, size);
    },
  };
}

function applyLinear(
  map: NamedLinear,
  target: LinearTarget,
  input: Tensor2D,
  layerIndex: number,
  { hooks }: Pass,
): Tensor2D {
  const output = map.apply(input, hooks.weight);
  if (hooks.linearTargets?.has(target) === false) return output;
  return hooks.linear?.({ layerIndex, target }, input, output, map) ?? output;
}

/** `[batch, sequence, size]` as one row per token. */
export function rolled(states: Tensor3D): Tensor2D {
  return reshaped(states, [-1, states.shape[2]]);
}
