/**
 * The frozen transformer that all families share: embeddings, blocks of attention and feed-forward with their layer norms before or after,
 * and the sites at which adapters act. A family supplies the parts; nothing here knows a tensor's name.
 */
import { add, reshape, split, type Tensor, type Tensor2D, type Tensor3D, tidy } from '@tensorflow/tfjs-core';
import { type AttentionShape, attention, fusedAttention } from '../compute/attention.ts';
import { withoutGradient } from '../compute/custom-gradient.ts';
import type { FrozenNorm } from '../compute/layer-norm.ts';
import type { FrozenLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import { attentionMaskOf } from './attention-mask.ts';
import type { BaseDescription, BaseModel, LinearTarget, SiteHooks, Sublayer, TokenBatch } from './base-model.ts';

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
  /** Embedded tokens `[batch * sequence, hidden]`. */
  readonly embed: (batch: TokenBatch) => Tensor2D;
  readonly blocks: readonly Block[];
  /** After the last block, where the family has one. */
  readonly finalNorm: FrozenNorm | null;
  /** `[rows, hidden]` → `[rows, vocabulary]`. */
  readonly scores: (hidden: Tensor2D) => Tensor2D;
  /** Frees embeddings and head. */
  readonly dispose: () => void;
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
  const { hiddenSize, layerCount, headCount, positionsMax, causal } = description;
  return {
    description,
    encode: (batch, hooks, collect) => {
      const [batchSize, sequenceLength] = batch.inputIds.shape;
      assert(
        sequenceLength <= positionsMax,
        `a sequence of ${sequenceLength} tokens exceeds ${positionsMax} positions`,
      );
      const shape: AttentionShape = { batchSize, sequenceLength, headCount };
      const pass: Pass = {
        parts,
        hooks: hooks ?? {},
        shape,
        mask: attentionMaskOf(batch.attentionMask, headCount, causal),
      };
      const unrolled = (rows: Tensor2D): Tensor3D => reshape(rows, [batchSize, sequenceLength, hiddenSize]);
      const runBlocks = (start: Tensor2D, from: number, to: number): Tensor2D => {
        let rows = start;
        for (let layerIndex = from; layerIndex < to; layerIndex++) {
          if (layerIndex > 0) collect?.(unrolled(rows));
          rows = tidy(() => runBlock(rows, layerIndex, pass));
        }
        return rows;
      };
      const embedded = () => {
        const rows = tidy(() => parts.embed(batch));
        collect?.(unrolled(rows));
        return rows;
      };
      // Where someone collects, the states below must outlive the frozen part; else it is computed without a trace.
      const isHooked = hooks?.linear !== undefined || hooks?.sublayer !== undefined;
      const frozenCount = isHooked ? Math.min(hooks?.lowestLayerIndex ?? 0, layerCount) : layerCount;
      const below = () => runBlocks(embedded(), 0, frozenCount);
      const start = collect === undefined ? withoutGradient(batch.inputIds, below) : below();
      const last = runBlocks(start, frozenCount, layerCount);
      const hidden = unrolled(finalNorm?.apply(last) ?? last);
      collect?.(hidden);
      return hidden;
    },
    languageModelScores: (hidden): Tensor => {
      const [batchSize, sequenceLength] = hidden.shape;
      const rows: Tensor2D = reshape(hidden, [batchSize * sequenceLength, hiddenSize]);
      return reshape(parts.scores(rows), [batchSize, sequenceLength, description.vocabularySize]);
    },
    dispose: () => {
      parts.dispose();
      finalNorm?.dispose();
      for (const block of blocks) disposeBlock(block);
    },
  };
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
    const rolled = (states: Tensor3D): Tensor2D =>
      reshape(states, [shape.batchSize * shape.sequenceLength, hiddenSize]);
    const hostNorm = placement === 'post' ? (input: Tensor3D) => unrolled(norm.apply(rolled(input))) : undefined;
    const replaced = hooks.sublayer({ layerIndex, sublayer }, unrolled(output), unrolled(residual), hostNorm);
    if (replaced !== undefined) return rolled(replaced);
  }
  const summed: Tensor2D = add(output, residual);
  return placement === 'post' ? norm.apply(summed) : summed;
}

function attend(input: Tensor2D, { projections, o }: Block, layerIndex: number, pass: Pass): Tensor2D {
  const { shape, mask } = pass;
  const linear = (map: FrozenLinear, target: LinearTarget) => applyLinear(map, target, input, layerIndex, pass);
  const mixed =
    projections.kind === 'separate'
      ? attention(linear(projections.q, 'q'), linear(projections.k, 'k'), linear(projections.v, 'v'), mask, shape)
      : attendFused(input, linear(projections.qkv, 'qkv'), layerIndex, pass);
  return applyLinear(o, 'o', mixed, layerIndex, pass);
}

/** Attention on a fused projection. Hooks for q, k and v need their slices, which are cut only where one may act. */
function attendFused(
  input: Tensor2D,
  fused: Tensor2D,
  layerIndex: number,
  { hooks: { linear, linearTargets }, shape, mask }: Pass,
): Tensor2D {
  const targets = ['q', 'k', 'v'] as const;
  const mayAct = targets.map((target) => linearTargets?.has(target) ?? true);
  if (linear === undefined || !mayAct.includes(true)) return fusedAttention(fused, mask, shape);
  const slices: Tensor2D[] = split(fused, 3, 1);
  const replaced = slices.map((slice, index) => {
    return mayAct[index] ? linear({ layerIndex, target: targets[index]! }, input, slice) : undefined;
  });
  if (replaced.every((part) => part === undefined)) return fusedAttention(fused, mask, shape);
  const [q, k, v] = slices.map((slice, index) => replaced[index] ?? slice);
  return attention(q!, k!, v!, mask, shape);
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
  return hooks.linear?.({ layerIndex, target }, input, output) ?? output;
}

function disposeBlock({ projections, o, up, down, norms }: Block): void {
  const maps = projections.kind === 'separate' ? [projections.q, projections.k, projections.v] : [projections.qkv];
  for (const part of [...maps, o, up, down, norms.attention, norms.feedForward]) part.dispose();
}
