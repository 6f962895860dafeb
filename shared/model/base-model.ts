/**
 * The frozen transformer as the rest of the system sees it: a description, an encoder, and named sites at which adapters act.
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { Digest } from '../core/ids.ts';

/** A linear map of a block. `qkv` exists only where the checkpoint fuses the three (GPT-2); `gate` only in gated feed-forwards. */
export type LinearTarget = 'q' | 'k' | 'v' | 'qkv' | 'o' | 'up' | 'down' | 'gate';

/** Which half of a block: its attention or its feed-forward. */
export type Sublayer = 'attention' | 'feedForward';

/** Facts about a base model that layouts and configurations depend on. */
export interface BaseDescription {
  readonly family: string;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly headCount: number;
  /** Heads of keys and of values: fewer than `headCount` where groups of queries share one, else the same. */
  readonly keyValueHeadCount: number;
  /** Width of one head. */
  readonly headSize: number;
  readonly feedForwardSize: number;
  readonly vocabularySize: number;
  /** Longest sequence the position embeddings cover, in tokens. */
  readonly positionsMax: number;
  /** Where the layer norm stands: after the residual sum (`post`, BERT) or before the sublayer (`pre`, GPT-2). */
  readonly norm: 'post' | 'pre';
  /** Whether a token attends only to earlier ones. */
  readonly causal: boolean;
  /** Linear targets of every block with their sizes and the checkpoint's own module name relative to the block. */
  readonly linearTargets: Readonly<
    Partial<Record<LinearTarget, { readonly inSize: number; readonly outSize: number; readonly moduleName: string }>>
  >;
  /** Tensors that hooks may replace, by their names in the checkpoint without prefix; linear maps as `[in, out]`. */
  readonly tensors: ReadonlyMap<string, readonly number[]>;
  /** Whether the checkpoint can score tokens of the vocabulary: a bare encoder, or a bare decoder with word embeddings of its own, cannot. */
  readonly hasLanguageModelHead: boolean;
  /** Digest over configuration, weights (name, type, shape, bytes, sorted by name) and tokenizer. */
  readonly digest: Digest;
  /** Parameters of the frozen network. */
  readonly parameterCount: number;
}

/** Token ids and mask of one batch, `[batch, sequence]` int32; the mask is 1 on tokens and 0 on right padding. */
export interface TokenBatch {
  readonly inputIds: Tensor2D;
  readonly attentionMask: Tensor2D;
  /** Which text of a pair a token belongs to, `[batch, sequence]` int32; absent means the first. Families without token types ignore it. */
  readonly tokenTypeIds?: Tensor2D;
  /** States to start from, which `encodeBelow` gave for the same texts; positions on padding may hold anything finite. */
  readonly below?: StatesBelow;
  /**
   * Of every text the place of the one token whose last state is read. Where hooks are {@link SiteHooks.isTokenwise} the base computes no other in its
   * last layer, and gives `[batch, 1, hidden]`; else, and where someone collects, it gives all as ever.
   */
  readonly reads?: readonly number[];
}

/** What enters a layer, `[batch, sequence, hidden]`: it depends on the texts and the frozen base alone. `layerIndex` may be `layerCount`. */
export interface StatesBelow {
  readonly layerIndex: number;
  readonly states: Tensor3D;
}

/** Where a linear map stands. */
export interface LinearSite {
  readonly layerIndex: number;
  readonly target: LinearTarget;
}

/** Where a sublayer ends. */
export interface SublayerSite {
  readonly layerIndex: number;
  readonly sublayer: Sublayer;
}

/** Where a whole layer stands. */
export interface LayerSite {
  readonly layerIndex: number;
}

/** A frozen linear map y = x W + c, as hooks see it. */
export interface FrozenMap {
  /** `[rows, in]` → `[rows, out]`; a gradient reaches `input` alone. */
  apply(input: Tensor2D): Tensor2D;
  /** W `[in, out]`, frozen: no gradient may be asked of it, and its owner is the base. */
  kernel(): Tensor2D;
  /** c `[out]`, frozen, or null where the map has none; of a map that a composition changed, what it adds to every row of `input`, `[rows, out]`. */
  bias(input: Tensor2D): Tensor1D | Tensor2D | null;
}

/** Hidden states `[batch, sequence, hidden]` and what of them is text: `[batch, sequence]` int32, 1 on tokens and 0 on right padding. */
export interface MaskedStates {
  readonly states: Tensor3D;
  readonly mask: Tensor2D;
}

/** Keys and values that stand in front of those of a layer, each `[batch, prefix, keyValueHeadCount * headSize]`. */
export interface Prefix {
  readonly keys: Tensor3D;
  readonly values: Tensor3D;
}

/**
 * What an adapter may change. A hook that is absent, or returns `undefined`, leaves the base as it is, at no cost.
 * Tensors passed to hooks are owned by the caller's `tidy`.
 */
export interface SiteHooks {
  /**
   * After the frozen map `output = input W + c` of a linear target: returns what takes its place.
   * `input` `[batch * sequence, inSize]`, `output` `[batch * sequence, outSize]`. On a base with a fused `qkv`, hooks for `q`, `k` and `v`
   * are called with their slices and the one for `qkv` with the whole. `map` is the map itself, for what needs its weight or runs it on
   * another input.
   */
  readonly linear?: (site: LinearSite, input: Tensor2D, output: Tensor2D, map: FrozenMap) => Tensor2D | undefined;
  /**
   * The targets at which `linear` may act; it is called for no other. Absent means all. On a base with a fused `qkv` it saves cutting the
   * output into slices for a hook that will not use them.
   */
  readonly linearTargets?: ReadonlySet<LinearTarget>;
  /**
   * At the end of a sublayer: `output` h is the sublayer's result, `residual` x its residual input, both `[batch, sequence, hidden]`;
   * `norm` is the host's own frozen layer norm on post-norm bases and `undefined` on pre-norm ones. Returns what replaces
   * `norm(h + x)` (post) or `h + x` (pre).
   */
  readonly sublayer?: (
    site: SublayerSite,
    output: Tensor3D,
    residual: Tensor3D,
    norm: ((input: Tensor3D) => Tensor3D) | undefined,
  ) => Tensor3D | undefined;
  /**
   * On word vectors, before positions, token types and norms are applied: what takes their place. It may lengthen the sequence in front, and
   * then gives the longer mask; positions count from the new beginning (prompts of PEFT).
   */
  readonly words?: (states: Tensor3D, mask: Tensor2D) => MaskedStates | undefined;
  /**
   * On what enters the first layer, with positions: what takes its place. It may lengthen the sequence in front, and then gives the longer
   * mask (invertible adapters, prompts of AdapterHub).
   */
  readonly embedding?: (states: Tensor3D, mask: Tensor2D) => MaskedStates | undefined;
  /**
   * On states on their way to the output matrix of the language-model head, behind what the head does before it, `[batch, sequence, hidden]`:
   * what the matrix reads in their place (the inverse of invertible adapters).
   */
  readonly output?: (hidden: Tensor3D) => Tensor3D;
  /**
   * Keys and values in front of a layer's own, which every token sees. Where positions are rotated into keys, these are taken as they are.
   */
  readonly keysAndValues?: (site: LayerSite, batchSize: number) => Prefix | undefined;
  /**
   * In place of a tensor of the checkpoint, by its name there without prefix: what is trained where a base is not frozen as a whole (biases,
   * norms, everything). `frozen` is the tensor itself, of a linear map `[in, out]` whatever the file has. Other hooks' `map` stays as it was.
   */
  readonly weight?: (name: string, frozen: Tensor) => Tensor | undefined;
  /** The position of the first token. Absent means 0; prefixes of PEFT count as positions, those of AdapterHub do not. */
  readonly positionStart?: number;
  /**
   * Whether what hooks do at a token of a layer depends on that token alone, so that they may be called with some tokens of every text in place of
   * all. Absent means no.
   */
  readonly isTokenwise?: boolean;
  /** How often the batch is repeated, one copy behind the other, before the lowest layer at which a hook acts. Absent means once. */
  readonly copies?: number;
  /**
   * The lowest layer at which any hook acts: no gradient is computed below it. Absent means 0. It says nothing where `words`, `embedding` or
   * `weight` is given, since they act below all layers.
   */
  readonly lowestLayerIndex?: number;
}

/**
 * What a causal base has seen of some texts of equal length, so that each further token costs one step. Hooks act token by token, and what
 * they put in front is put there once; a hook whose effect on a token depends on later ones has no meaning here.
 */
export interface KeyValueCache {
  /** Tokens seen so far in every text. */
  readonly length: number;
  /** Positions that are left. */
  readonly room: number;
  /** Goes on by `[batch, count]` tokens; gives their last hidden states, of the first call with what hooks put in front. No gradients. */
  extend(inputIds: Tensor2D): Tensor3D;
  /** Frees what was kept. */
  dispose(): void;
}

/** A frozen transformer on the current back end. */
export interface BaseModel {
  readonly description: BaseDescription;
  /**
   * Last hidden state `[batch, sequence, hidden]` float32 (after the final layer norm where the family has one); longer than the batch where
   * a hook lengthened it, and one token long where `batch.reads` allows it.
   * `collect`, if given, receives the hidden states `0..layerCount` in the order in which the published code reports them.
   */
  encode(batch: TokenBatch, hooks?: SiteHooks, collect?: (hidden: Tensor3D) => void): Tensor3D;
  /**
   * The states that enter layer `layerIndex` of the bare base, from 0 to `layerCount`, where the final norm follows. No gradients. Absent on
   * a base whose `encode` cannot start from them.
   */
  readonly encodeBelow?: (batch: TokenBatch, layerIndex: number) => Tensor3D;
  /**
   * Scores of the family's language-model head for hidden states `[batch, sequence, hidden]` → `[batch, sequence, vocabulary]`; of `hooks`
   * it calls `output`. @throws FederationError `no-language-model-head` where the checkpoint has none.
   */
  languageModelScores(hidden: Tensor3D, hooks?: SiteHooks): Tensor;
  /** An empty cache; `hooksOf` makes the hooks of every call, all of one adapter. Absent where tokens attend to later ones. */
  readonly createCache?: (hooksOf?: () => SiteHooks) => KeyValueCache;
  /** Frees the weights. */
  dispose(): void;
}
