/**
 * What an adapter method is: a value with a configuration schema, a layout, an initialisation and hooks into a frozen base model.
 * A new method is one file that exports one such value and one line in `registry.ts`.
 */
import type { Scalar, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { SeededRandom } from '../core/random.ts';
import type { BaseDescription, LinearSite } from '../model/base-model.ts';
import type { TensorSpecification } from '../update/layout.ts';
import type { AdapterHooks } from './sublayer-change.ts';

/** What hooks get at run time. */
export interface AdapterContext {
  /** Trainable tensors by layout name; owned by the caller, never disposed by hooks. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** True during training: adapter dropout is active. */
  readonly training: boolean;
  /** Source of dropout masks; a fresh fork for every step. */
  readonly random: SeededRandom;
  /** In training: local steps before this one, over all rounds of a federation; for what changes by a schedule. Absent in evaluation. */
  readonly step?: number;
  /** `[batch, sequence]` int32 of the pass, 1 on tokens and 0 on padding, for methods that treat padding apart; absent: all are tokens. */
  readonly attentionMask?: Tensor2D;
  /** For a composition that splits the batch: the place of its member for every row, or -1 for the base alone. */
  readonly rows?: readonly number[];
  /** For hypernetworks: the task of the pass, or weights by task; absent: as configured. */
  readonly task?: string | Readonly<Record<string, number>>;
  /** Adds an auxiliary loss, already weighted, to that of the task; absent where no loss is formed, as in evaluation. */
  readonly addLoss?: (name: string, loss: Scalar) => void;
  /** Hands out a statistic of this pass, such as how much each expert was used; the receiver keeps what it wants beyond the pass. */
  readonly observe?: (name: string, value: Tensor) => void;
  /**
   * How many of the lowest layers go without their adapters in this pass (Rücklé 2021, AdapterDrop); absent means none in evaluation and
   * what the configuration's `adapterDrop` says in training.
   */
  readonly dropLowest?: number;
}

/** A frozen linear map outside the back end: W `[in, out]` and c `[out]`, null for none. */
export interface LinearWeights {
  readonly kernel: Float32Array;
  readonly bias: Float32Array | null;
}

/** From one frozen linear map to another; it changes neither. Undefined where the adapter does not act. */
export type MapChange<Configuration> = (
  base: BaseDescription,
  configuration: Configuration,
  site: LinearSite,
  map: LinearWeights,
  parameters: ReadonlyMap<string, Float32Array>,
) => LinearWeights | undefined;

/**
 * A method with configuration type `Configuration`.
 *
 * `parse` accepts what stands in a plan under `adapter` (without `method`) and returns it with defaults filled in. It looks at the base last, so that
 * names and values of fields can be checked without one (`checkSettings`).
 */
export interface AdapterMethod<Configuration> {
  /** Name in plans and on the command line: `bottleneck`, `lora`. */
  readonly name: string;
  /** Checks and completes a configuration. @throws UsageError that names the field, the allowed values and what was found. */
  parse(configuration: unknown, base: BaseDescription): Configuration;
  /** Names, shapes, and aggregation classes of everything that is trained, in the order of the flat vector. */
  layout(base: BaseDescription, configuration: Configuration): readonly TensorSpecification[];
  /** Initial values of one tensor of the layout; exact identity of the whole adapter unless the configuration asks otherwise. */
  initialise(specification: TensorSpecification, configuration: Configuration, random: SeededRandom): Float32Array;
  /**
   * What the method does at the sites of the base during one forward pass. Making the hooks reads no parameters: compositions look at which
   * there are before any exist.
   */
  hooks(base: BaseDescription, configuration: Configuration, context: AdapterContext): AdapterHooks;
  /**
   * Whether {@link hooks} also take tensors `[clients, ...shape]` in place of those of the layout, each client's for its own stretch of the rows of
   * the batch, all stretches alike in length: then several clients train in one pass. Absent means that they do not.
   */
  stacks?(configuration: Configuration): boolean;
  /** Tokens that the method puts in front of every text, which take positions from it. Absent means none. */
  virtualTokens?(configuration: Configuration): number;
  /**
   * An adapter that computes the same in a simpler form: without the network that made its values. Parameters by name, computed in float64.
   * Absent where there is none.
   */
  eject?(
    base: BaseDescription,
    configuration: Configuration,
    parameters: ReadonlyMap<string, Float32Array>,
  ): { readonly configuration: Configuration; readonly parameters: ReadonlyMap<string, Float32Array> };
  /**
   * The frozen map at `site` with the adapter in it, computed in float64; undefined for a map that the adapter leaves alone. Absent where
   * what the method does is no linear map.
   */
  readonly merge?: MapChange<Configuration>;
  /**
   * The inverse of {@link merge}, exact up to the rounding of both to float32. Absent where the merged map does not determine the frozen
   * one. Throws UsageError `cannot-unmerge` where it does not for these parameters.
   */
  readonly unmerge?: MapChange<Configuration>;
}
