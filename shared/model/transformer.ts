/**
 * The frozen transformer that all families share: embeddings, blocks of attention and feed-forward with their layer norms before or after,
 * and the sites at which adapters act. A family supplies the parts; nothing here knows a tensor's name.
 */
import {
  add,
  concat,
  pad,
  reshape,
  slice,
  split,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tidy,
  tile,
} from '@tensorflow/tfjs-core';
import { type AttentionShape, attention, fusedAttention } from '../compute/attention.ts';
import { withoutGradient } from '../compute/custom-gradient.ts';
import type { FrozenNorm } from '../compute/layer-norm.ts';
import type { FrozenLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import { attentionMaskOf } from './attention-mask.ts';
import type {
  BaseDescription,
  BaseModel,
  FrozenMap,
  LinearTarget,
  MaskedStates,
  Prefix,
  SiteHooks,
  Sublayer,
  TokenBatch,
} from './base-model.ts';

/** The query, key and value maps of a block: three, or one whose output is their concatenation. */
export type Projections =
  | { readonly kind: 'separate'; readonly q: FrozenLinear; readonly k: FrozenLinear; readonly v: FrozenLinear }
  | { readonly kind: 'fused'; readonly qkv: FrozenLinear };

/** The frozen parts of one block. */
export interface Block {
  readonly projections: Projections;
  readonly o: FrozenLinear;
  readonly up: FrozenLinear;
  readonly activation: (input: Tensor2D) => Tensor2D;
  readonly down: FrozenLinear;
  /** Of the attention and of the feed-forward: before the sublayer or after its residual sum, as `description.norm` says. */
  readonly norms: Readonly<Record<Sublayer, FrozenNorm>>;
}

/** Everything a family builds. */
export interface TransformerParts {
  readonly description: BaseDescription;
  /** Word vectors `[batch, sequence, hidden]` of ids `[batch, sequence]`. */
  readonly words: (inputIds: Tensor2D) => Tensor3D;
  /** From word vectors to what enters the first block: positions, token types, norm. */
  readonly embed: (words: Tensor3D, placement: Placement) => Tensor3D;
  readonly blocks: readonly Block[];
  /** After the last block, where the family has one. */
  readonly finalNorm: FrozenNorm | null;
  /** `[rows, hidden]` → `[rows, vocabulary]`. */
  readonly scores: (hidden: Tensor2D) => Tensor2D;
  /** Frees embeddings and head. */
  readonly dispose: () => void;
}

/** Where word vectors stand. */
export interface Placement {
  readonly batch: TokenBatch;
  /** Position of the first vector. */
  readonly start: number;
  /** Vectors in front that stand for no token of the batch. */
  readonly added: number;
}

/** What one forward pass of a block needs beside its input. */
interface Pass {
  readonly parts: TransformerParts;
  readonly hooks: SiteHooks;
  readonly shape: AttentionShape;
  readonly mask: Tensor3D;
}

/** A base model over `parts`, which it owns. */
export function createTransformer(parts: TransformerParts): BaseModel {
  const { description, blocks, finalNorm } = parts;
  const { hiddenSize, layerCount } = description;
  return {
    description,
    encode: (batch, hooks = {}, collect) => {
      const runBlocks = (start: Tensor3D, from: number, to: number, pass: Pass): Tensor2D => {
        let rows = rolled(start);
        for (let layerIndex = from; layerIndex < to; layerIndex++) {
          if (layerIndex > 0) collect?.(unrolled(rows, pass.shape));
          rows = tidy(() => runBlock(rows, layerIndex, pass));
        }
        return rows;
      };
      const finish = (last: Tensor2D, { shape }: Pass): Tensor3D => {
        const hidden = unrolled(finalNorm?.apply(last) ?? last, shape);
        collect?.(hidden);
        return hidden;
      };
      const embedded = (): MaskedStates => {
        const entering = tidy(() => ({ ...embed(parts, batch, hooks) }));
        collect?.(entering.states);
        return entering;
      };
      if (hooks.words !== undefined || hooks.embedding !== undefined) {
        const { states, mask } = embedded();
        const entering = repeated({ states, mask }, hooks);
        const pass = passOf(parts, hooks, entering.states, entering.mask);
        return finish(runBlocks(entering.states, 0, layerCount, pass), pass);
      }
      // Where someone collects, the states below must outlive the frozen part; else it is computed without a trace.
      const isHooked = hooks.linear !== undefined || hooks.sublayer !== undefined || hooks.keysAndValues !== undefined;
      const frozenCount = isHooked ? Math.min(hooks.lowestLayerIndex ?? 0, layerCount) : layerCount;
      const pass = passOf(parts, hooks, batch.inputIds, batch.attentionMask);
      const below = () => runBlocks(embedded().states, 0, frozenCount, pass);
      const start = collect === undefined ? withoutGradient(batch.inputIds, below) : below();
      const entering = repeated({ states: unrolled(start, pass.shape), mask: batch.attentionMask }, hooks);
      const above = hooks.copies === undefined ? pass : passOf(parts, hooks, entering.states, entering.mask);
      return finish(runBlocks(entering.states, frozenCount, layerCount, above), above);
    },
    languageModelScores: (hidden, hooks): Tensor => {
      const read = hooks?.output?.(hidden) ?? hidden;
      const [batchSize, sequenceLength] = read.shape;
      return reshape(parts.scores(rolled(read)), [batchSize, sequenceLength, description.vocabularySize]);
    },
    dispose: () => {
      parts.dispose();
      finalNorm?.dispose();
      for (const block of blocks) disposeBlock(block);
    },
  };

  function unrolled(rows: Tensor2D, { batchSize, sequenceLength }: AttentionShape): Tensor3D {
    return reshape(rows, [batchSize, sequenceLength, hiddenSize]);
  }
}

function rolled(states: Tensor3D): Tensor2D {
  return reshape(states, [-1, states.shape[2]]);
}

/** The states that enter the first block, and their mask, which is longer than the batch's where a hook lengthened them. */
function embed(
  { words, embed: place, description }: TransformerParts,
  batch: TokenBatch,
  hooks: SiteHooks,
): MaskedStates {
  const bare: MaskedStates = { states: words(batch.inputIds), mask: batch.attentionMask };
  const { states, mask } = hooks.words?.(bare.states, bare.mask) ?? bare;
  const { positionStart: start = 0 } = hooks;
  const length = states.shape[1];
  assert(
    start + length <= description.positionsMax,
    `a sequence of ${start + length} tokens exceeds ${description.positionsMax} positions`,
  );
  const placed = place(states, { batch, start, added: length - batch.inputIds.shape[1] });
  return hooks.embedding?.(placed, mask) ?? { states: placed, mask };
}

/** The batch as often as the hooks want it. */
function repeated({ states, mask }: MaskedStates, { copies = 1 }: SiteHooks): MaskedStates {
  return copies === 1 ? { states, mask } : { states: tile(states, [copies, 1, 1]), mask: tile(mask, [copies, 1]) };
}

function passOf(
  parts: TransformerParts,
  hooks: SiteHooks,
  { shape: [batchSize, sequenceLength] }: Tensor2D | Tensor3D,
  mask: Tensor2D,
): Pass {
  const { headCount, keyValueHeadCount, causal } = parts.description;
  const shape: AttentionShape = { batchSize, sequenceLength, headCount, keyValueHeadCount };
  return { parts, hooks, shape, mask: attentionMaskOf(mask, headCount, causal) };
}

function runBlock(rows: Tensor2D, layerIndex: number, pass: Pass): Tensor2D {
  const block = pass.parts.blocks[layerIndex]!;
  const attended = runSublayer(rows, layerIndex, 'attention', pass, (input) => attend(input, block, layerIndex, pass));
  return runSublayer(attended, layerIndex, 'feedForward', pass, (input) => {
    const inner = block.activation(applyLinear(block.up, 'up', input, layerIndex, pass));
    return applyLinear(block.down, 'down', inner, layerIndex, pass);
  });
}

/** One sublayer with its residual and its norm, and the hook at its end. */
function runSublayer(
  residual: Tensor2D,
  layerIndex: number,
  sublayer: Sublayer,
  { parts, hooks, shape }: Pass,
  compute: (input: Tensor2D) => Tensor2D,
): Tensor2D {
  const { norm: placement, hiddenSize } = parts.description;
  const norm = parts.blocks[layerIndex]!.norms[sublayer];
  const output = compute(placement === 'pre' ? norm.apply(residual) : residual);
  if (hooks.sublayer !== undefined) {
    const unrolled = (rows: Tensor2D): Tensor3D => reshape(rows, [shape.batchSize, shape.sequenceLength, hiddenSize]);
    // Of any shape: compositions give it some rows of the batch, or some stretch of the sequence.
    const hostNorm =
      placement === 'post' ? (input: Tensor3D): Tensor3D => reshape(norm.apply(rolled(input)), input.shape) : undefined;
    const replaced = hooks.sublayer({ layerIndex, sublayer }, unrolled(output), unrolled(residual), hostNorm);
    if (replaced !== undefined) return rolled(replaced);
  }
  const summed: Tensor2D = add(output, residual);
  return placement === 'post' ? norm.apply(summed) : summed;
}

function attend(input: Tensor2D, { projections, o }: Block, layerIndex: number, pass: Pass): Tensor2D {
  const { shape, hooks } = pass;
  const linear = (map: FrozenLinear, target: LinearTarget) => applyLinear(map, target, input, layerIndex, pass);
  const prefix = hooks.keysAndValues?.({ layerIndex }, shape.batchSize);
  const mixed =
    projections.kind === 'separate'
      ? mix([linear(projections.q, 'q'), linear(projections.k, 'k'), linear(projections.v, 'v')], prefix, pass)
      : attendFused(input, projections.qkv, linear(projections.qkv, 'qkv'), { layerIndex, prefix, pass });
  return applyLinear(o, 'o', mixed, layerIndex, pass);
}

/** Queries, keys and values of a block, one row per token. */
type Threefold = readonly [q: Tensor2D, k: Tensor2D, v: Tensor2D];

/** Attention, with a prefix in front of keys and values where there is one. */
function mix([q, k, v]: Threefold, prefix: Prefix | undefined, { shape, mask }: Pass): Tensor2D {
  if (prefix === undefined) return attention(q, k, v, mask, shape);
  const { batchSize, sequenceLength } = shape;
  const prefixed = (front: Tensor3D, rows: Tensor2D): Tensor2D => {
    const own: Tensor3D = reshape(rows, [batchSize, sequenceLength, -1]);
    return rolled(concat([front, own], 1));
  };
  const seen: Tensor3D = pad(mask, [
    [0, 0],
    [0, 0],
    [prefix.keys.shape[1], 0],
  ]);
  return attention(q, prefixed(prefix.keys, k), prefixed(prefix.values, v), seen, shape);
}

/** Attention on a fused projection. Hooks for q, k and v need their slices, which are cut only where one may act. */
function attendFused(
  input: Tensor2D,
  map: FrozenLinear,
  fused: Tensor2D,
  { layerIndex, prefix, pass }: { layerIndex: number; prefix: Prefix | undefined; pass: Pass },
): Tensor2D {
  const { linear, linearTargets } = pass.hooks;
  const targets = ['q', 'k', 'v'] as const;
  const mayAct = targets.map((target) => linear !== undefined && (linearTargets?.has(target) ?? true));
  const whole = () => fusedAttention(fused, pass.mask, pass.shape);
  if (prefix === undefined && !mayAct.includes(true)) return whole();
  const parts: Tensor2D[] = split(fused, 3, 1);
  const replaced = parts.map((part, index) => {
    if (!mayAct[index]) return undefined;
    return linear?.({ layerIndex, target: targets[index]! }, input, part, columnsOf(map, index, 3));
  });
  if (prefix === undefined && replaced.every((part) => part === undefined)) return whole();
  const [q, k, v] = parts.map((part, index) => replaced[index] ?? part);
  return mix([q!, k!, v!], prefix, pass);
}

/** One of `count` equal parts of a map's output, as a map. */
function columnsOf(map: FrozenLinear, index: number, count: number): FrozenMap {
  const size = map.outSize / count;
  return {
    apply: (input) => slice(map.apply(input), [0, index * size], [-1, size]),
    kernel: () => slice(map.kernel(), [0, index * size], [-1, size]),
    bias: () => {
      const bias = map.bias();
      return bias === null ? null : slice(bias, index * size, size);
    },
  };
}

function applyLinear(
  map: FrozenLinear,
  target: LinearTarget,
  input: Tensor2D,
  layerIndex: number,
  { hooks }: Pass,
): Tensor2D {
  const output = map.apply(input);
  if (hooks.linearTargets?.has(target) === false) return output;
  return hooks.linear?.({ layerIndex, target }, input, output, map) ?? output;
}

function disposeBlock({ projections, o, up, down, norms }: Block): void {
  const maps = projections.kind === 'separate' ? [projections.q, projections.k, projections.v] : [projections.qkv];
  for (const part of [...maps, o, up, down, norms.attention, norms.feedForward]) part.dispose();
}
