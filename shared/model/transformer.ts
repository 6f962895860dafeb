/**
 * The frozen transformer that all families share: embeddings, blocks, a final norm, and a head that scores words. A family supplies the
 * parts; nothing here knows a tensor's name.
 */
import { ones, reshape, slice, type Tensor, type Tensor2D, type Tensor3D, tidy, tile } from '@tensorflow/tfjs-core';
import type { AttentionShape } from '../compute/attention.ts';
import { withoutGradient } from '../compute/custom-gradient.ts';
import { rotationOf } from '../compute/rotary.ts';
import { reshaped } from '../compute/without-saving.ts';
import { assert } from '../core/assert.ts';
import { attentionMaskOf, seenFrom } from './attention-mask.ts';
import type { BaseDescription, BaseModel, KeyValueCache, MaskedStates, SiteHooks, TokenBatch } from './base-model.ts';
import { type Block, disposeBlock, type Pass, type Reading, rolled, runBlock } from './block.ts';
import { frozenLayerCount, requireFrozenBelow } from './frozen-layers.ts';
import { createLayerCache } from './key-value-cache.ts';
import type { NamedNorm, NamedOutput, Replacement } from './named-weights.ts';

/** Everything a family builds. */
export interface TransformerParts {
  readonly description: BaseDescription;
  /** Word vectors `[batch, sequence, hidden]` of ids `[batch, sequence]`. */
  readonly words: (inputIds: Tensor2D, replaced: Replacement) => Tensor3D;
  /** From word vectors to what enters the first block: positions, token types, norm. */
  readonly embed: (words: Tensor3D, placement: Placement) => Tensor3D;
  /** Radians per position of every pair of a head, where positions are rotations. */
  readonly rotaryFrequencies?: Float64Array;
  readonly blocks: readonly Block[];
  /** After the last block, where the family has one. */
  readonly finalNorm: NamedNorm | null;
  readonly output: NamedOutput;
  /** Frees embeddings; the rest is freed here. */
  readonly dispose: () => void;
}

/** Where word vectors stand. */
export interface Placement {
  readonly batch: TokenBatch;
  /** Position of the first vector. */
  readonly start: number;
  /** Vectors in front that stand for no token of the batch. */
  readonly added: number;
  readonly replaced: Replacement;
}

/** A base model over `parts`, which it owns. */
export function createTransformer(parts: TransformerParts): BaseModel {
  const { description, blocks, finalNorm, output } = parts;
  const { layerCount, vocabularySize } = description;
  return {
    description,
    encode: (batch, hooks = {}, collect) => {
      requireFrozenBelow(batch, hooks, layerCount);
      const passFrom = (source: Tensor2D | Tensor3D, mask: Tensor2D): Pass => {
        const pass = passOf(parts, hooks, source, mask);
        return collect === undefined ? { ...pass, reads: readingOf(batch, pass, mask) } : pass;
      };
      const run = (start: Tensor2D, from: number, to: number, pass: Pass): Tensor2D =>
        runBlocks(start, blocks, { from, to, pass, collect });
      const finish = (last: Tensor2D, { shape, reads }: Pass): Tensor3D => {
        const hidden = unrolled(finalNorm?.apply(last, hooks.weight) ?? last, reads?.shape ?? shape);
        collect?.(hidden);
        return hidden;
      };
      const embedded = (): MaskedStates => {
        const entering = tidy(() => ({ ...embed(parts, batch, hooks, hooks.positionStart ?? 0) }));
        collect?.(entering.states);
        return entering;
      };
      if (hooks.words !== undefined || hooks.embedding !== undefined || hooks.weight !== undefined) {
        const { states, mask } = repeated(embedded(), hooks);
        const pass = passFrom(states, mask);
        return finish(run(rolled(states), 0, layerCount, pass), pass);
      }
      const frozenCount = frozenLayerCount(hooks, layerCount);
      const pass = passFrom(batch.inputIds, batch.attentionMask);
      const below = () =>
        batch.below === undefined
          ? run(rolled(embedded().states), 0, frozenCount, pass)
          : run(rolled(batch.below.states), batch.below.layerIndex, frozenCount, pass);
      // Where someone collects, the states below must outlive the frozen part; else it is computed without a trace.
      const start = collect === undefined ? withoutGradient(batch.inputIds, below) : below();
      if (hooks.copies === undefined) return finish(run(start, frozenCount, layerCount, pass), pass);
      const { states, mask } = repeated({ states: unrolled(start, pass.shape), mask: batch.attentionMask }, hooks);
      const above = passOf(parts, hooks, states, mask);
      return finish(run(rolled(states), frozenCount, layerCount, above), above);
    },
    encodeBelow: (batch, layerIndex) =>
      tidy(() => {
        const pass = passOf(parts, {}, batch.inputIds, batch.attentionMask);
        const entering = embed(parts, batch, {}, 0).states;
        return unrolled(runBlocks(rolled(entering), blocks, { from: 0, to: layerIndex, pass }), pass.shape);
      }),
    languageModelScores: (hidden, hooks): Tensor => {
      const rows = output.transform?.(rolled(hidden), hooks?.weight);
      const states: Tensor3D = rows === undefined ? hidden : reshape(rows, hidden.shape);
      const read = hooks?.output?.(states) ?? states;
      const [batchSize, sequenceLength] = read.shape;
      return reshape(output.apply(rolled(read), hooks?.weight), [batchSize, sequenceLength, vocabularySize]);
    },
    ...(description.causal ? { createCache: (hooksOf) => createCache(parts, hooksOf ?? (() => ({}))) } : {}),
    dispose: () => {
      parts.dispose();
      finalNorm?.dispose();
      output.dispose();
      for (const block of blocks) disposeBlock(block);
    },
  };
}

/** Which blocks run, and who receives what enters them; nobody receives what enters the first. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly pass: Pass;
  readonly collect?: ((hidden: Tensor3D) => void) | undefined;
}

function runBlocks(start: Tensor2D, blocks: readonly Block[], { from, to, pass, collect }: Stretch): Tensor2D {
  let rows = start;
  for (let layerIndex = from; layerIndex < to; layerIndex++) {
    if (layerIndex > 0) collect?.(unrolled(rows, pass.shape));
    rows = tidy(() => runBlock(rows, blocks[layerIndex]!, layerIndex, pass));
  }
  return rows;
}

function unrolled(rows: Tensor2D, { batchSize, sequenceLength }: AttentionShape): Tensor3D {
  return reshaped(rows, [batchSize, sequenceLength, rows.shape[1]]);
}

/** The states that enter the first block, and their mask, which is longer than the batch's where a hook lengthened them. */
function embed(parts: TransformerParts, batch: TokenBatch, hooks: SiteHooks, start: number): MaskedStates {
  const bare: MaskedStates = { states: parts.words(batch.inputIds, hooks.weight), mask: batch.attentionMask };
  const { states, mask } = hooks.words?.(bare.states, bare.mask) ?? bare;
  const length = states.shape[1];
  const { positionsMax } = parts.description;
  assert(start + length <= positionsMax, `a sequence of ${start + length} tokens exceeds ${positionsMax} positions`);
  const added = length - batch.inputIds.shape[1];
  const placed = parts.embed(states, { batch, start, added, replaced: hooks.weight });
  return hooks.embedding?.(placed, mask) ?? { states: placed, mask };
}

/** The batch as often as the hooks want it. */
function repeated({ states, mask }: MaskedStates, { copies = 1 }: SiteHooks): MaskedStates {
  return copies === 1 ? { states, mask } : { states: tile(states, [copies, 1, 1]), mask: tile(mask, [copies, 1]) };
}

function passOf(parts: TransformerParts, hooks: SiteHooks, { shape }: Tensor2D | Tensor3D, mask: Tensor2D): Pass {
  const { description, rotaryFrequencies } = parts;
  const { headCount, keyValueHeadCount, causal } = description;
  const [batchSize, sequenceLength] = shape;
  return {
    description,
    hooks,
    shape: { batchSize, sequenceLength, headCount, keyValueHeadCount },
    mask: attentionMaskOf(mask, headCount, causal),
    rotation:
      rotaryFrequencies === undefined ? null : rotationOf(rotaryFrequencies, hooks.positionStart ?? 0, sequenceLength),
    seen: null,
    reads: null,
  };
}

/** What the last block computes of a batch; null for all of it, also where it has passed that block already. */
function readingOf(
  { reads, below, inputIds }: TokenBatch,
  { hooks, shape, mask, description }: Pass,
  tokens: Tensor2D,
): Reading | null {
  const { layerCount } = description;
  const { isTokenwise = frozenLayerCount(hooks, layerCount) === layerCount, copies = 1 } = hooks;
  const isPassed = below !== undefined && below.layerIndex === layerCount;
  if (reads === undefined || !isTokenwise || copies > 1 || isPassed) return null;
  const { batchSize, sequenceLength, headCount } = shape;
  assert(reads.length === batchSize, `one token is read of every text, found ${reads.length} of ${batchSize}`);
  const places = reads.map((place) => sequenceLength - inputIds.shape[1] + place);
  return {
    rows: places.map((place, text) => text * sequenceLength + place),
    shape: { ...shape, sequenceLength: 1 },
    mask: description.causal ? attentionMaskOf(seenFrom(tokens, places), headCount, false) : mask!,
  };
}

function createCache(parts: TransformerParts, hooksOf: () => SiteHooks): KeyValueCache {
  const { description, blocks, finalNorm, rotaryFrequencies } = parts;
  const { headCount, keyValueHeadCount, positionsMax } = description;
  const seen = blocks.map(createLayerCache);
  let length = 0;
  /** How many vectors hooks put in front at the first call, at both places; null before it. */
  let front: FrontCounts | null = null;
  let positionStart = 0;
  return {
    get length() {
      return length;
    },
    get room() {
      return positionsMax - positionStart - (front?.words ?? 0) - (front?.states ?? 0) - length;
    },
    extend: (inputIds) =>
      tidy(() => {
        const [batchSize, count] = inputIds.shape;
        const hooks = hooksOf();
        assert(hooks.copies === undefined, 'a batch that is repeated for several adapters cannot go on in a cache');
        const { own, counts } = withFrontOnce(hooks, front === null);
        positionStart = hooks.positionStart ?? 0;
        const before = front ?? { words: 0, states: 0 };
        const attentionMask = ones([batchSize, count], 'int32') as Tensor2D;
        const start = positionStart + before.words + length;
        const { states } = embed(parts, { inputIds, attentionMask }, own, start);
        const sequenceLength = states.shape[1];
        const pass: Pass = {
          description,
          hooks,
          shape: { batchSize, sequenceLength, headCount, keyValueHeadCount },
          mask: null,
          rotation:
            rotaryFrequencies === undefined
              ? null
              : rotationOf(rotaryFrequencies, start + before.states, sequenceLength),
          seen,
          reads: null,
        };
        let rows = rolled(states);
        for (const [layerIndex, block] of blocks.entries()) rows = tidy(() => runBlock(rows, block, layerIndex, pass));
        front ??= counts;
        length += count;
        return unrolled(finalNorm?.apply(rows, hooks.weight) ?? rows, pass.shape);
      }),
    dispose: () => {
      for (const layer of seen) layer.dispose();
    },
  };
}

/** Vectors in front of the tokens: of words, and of what enters the first block. */
interface FrontCounts {
  words: number;
  states: number;
}

/** Hooks whose vectors in front are counted the first time and left out later; what they do to the tokens themselves stays. */
function withFrontOnce(hooks: SiteHooks, isFirst: boolean): { readonly own: SiteHooks; readonly counts: FrontCounts } {
  const counts: FrontCounts = { words: 0, states: 0 };
  const counted =
    (hook: SiteHooks['words'], place: keyof FrontCounts): NonNullable<SiteHooks['words']> =>
    (states, mask) => {
      const given = hook?.(states, mask);
      if (given === undefined) return undefined;
      const [batchSize, length, size] = states.shape;
      const added = given.states.shape[1] - length;
      if (isFirst) counts[place] = added;
      if (isFirst || added === 0) return given;
      return { states: slice(given.states, [0, added, 0], [batchSize, length, size]), mask };
    };
  const own = { ...hooks, words: counted(hooks.words, 'words'), embedding: counted(hooks.embedding, 'states') };
  return { own, counts };
}
