/**
 * The layout of an update: which tensors, in which order, of which aggregation class. An update is one flat float32 vector in this order,
 * and every signature binds the layout's digest. Layers, methods and heads contribute their tensors in a fixed order.
 */
import { utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import { encodeCanonical, u32 } from '../protocol/canonical.ts';
import { list, maybe, oneOf, structure, text } from '../protocol/canonical-compound.ts';

/** The aggregation classes; what each means stands at {@link AggregationClass}. */
export const aggregationClasses = ['mean', 'frozen', 'local', 'folded', 'count', 'count-weighted', 'low-rank'] as const;

/**
 * How clients' values of one tensor are combined (the rules: `coordinator/aggregation/README.md`).
 *
 * - `mean`: the mean of the deltas, weighted by the clients' weights.
 * - `frozen`: never changes, is not trained and not uploaded.
 * - `local`: trained, and never leaves the client, which keeps it from round to round.
 * - `folded`: a scale that is trained from a value other than 0; before the upload it is multiplied into the tensors that it names in `foldInto`
 *   and is again what it was, because the mean of scales times the mean of what they scale is not the mean of the products.
 * - `count`: not trained; the client puts in how much it used each part, per example (tokens of an expert, or 1 and 0 for what it owns and
 *   what it lacks), and the published values are the weighted mean of that.
 * - `count-weighted`: the mean of the deltas, in which every part counts by the client's weight times its value in the tensor `countName`. What
 *   nobody used stays as it was. With counts of 1 and 0 this is the mean over the owners.
 * - `low-rank`: a factor of a low-rank map; not the factors but their product is combined, as the plan's rule says.
 */
export type AggregationClass = (typeof aggregationClasses)[number];

/** Whether local training changes tensors of a class. */
export function trainsLocally(aggregationClass: AggregationClass): boolean {
  return aggregationClass !== 'frozen' && aggregationClass !== 'count';
}

/** Values that local training changes: all but those of frozen and counting tensors. */
export function trainedCount({ tensors }: AdapterLayout): number {
  return tensors.reduce((sum, { size, aggregationClass }) => sum + (trainsLocally(aggregationClass) ? size : 0), 0);
}

/** One tensor of a layout. */
export interface TensorSpecification {
  /** Unique dotted name, for example `layers.0.feedForward.bottleneck.down.kernel`. */
  readonly name: string;
  /** Dimensions, each at least 1; a kernel is `[in, out]`. */
  readonly shape: readonly number[];
  readonly aggregationClass: AggregationClass;
  /** Whether weight decay applies: kernels and factors yes, biases, scales and norms no. */
  readonly decays: boolean;
  /** The learning rate of this tensor relative to that of the training, where its method asks for another; default 1. */
  readonly learningRateFactor?: number;
  /** Class `count-weighted`: the tensor of class `count` that says how much a client used this one. */
  readonly countName?: string;
  /** The one value of the counts that weighs this whole tensor. Left out: value i weighs slice i along `countAxis`. */
  readonly countIndex?: number;
  /** Default `first`. */
  readonly countAxis?: 'first' | 'last';
  /** Class `folded`: tensors that this one scales, as a whole (one value) or along their last axis. */
  readonly foldInto?: readonly string[];
  /** Factors A `[rank, in]` and B `[out, rank]` of one low-rank map B A carry the same name. Whatever the class, it is declared by the method. */
  readonly pair?: { readonly name: string; readonly factor: 'a' | 'b' };
}

/** A whole layout with the place of every tensor in the flat vector. */
export interface AdapterLayout {
  readonly tensors: readonly (TensorSpecification & { readonly offset: number; readonly size: number })[];
  /** Length of the flat vector. */
  readonly dim: number;
}

/** Puts tensors one after the other. */
export function layoutOf(specifications: readonly TensorSpecification[]): AdapterLayout {
  let dim = 0;
  const tensors = specifications.map((specification) => {
    const size = specification.shape.reduce((product, extent) => product * extent, 1);
    const placed = { ...specification, offset: dim, size };
    dim += size;
    return placed;
  });
  return { tensors, dim };
}

/** Tensors and dimensions of one layout: far beyond any adapter, so that a digest is never computed over nonsense. */
const [tensorsMax, dimensionsMax, foldsMax] = [100_000, 8, 16];
const layoutFormat = list(
  structure({
    name: text(1024),
    type: oneOf(['float32']),
    shape: list(u32, dimensionsMax),
    aggregationClass: oneOf(aggregationClasses),
    countName: maybe(text(1024)),
    countIndex: maybe(u32),
    countAxis: oneOf(['first', 'last']),
    foldInto: list(text(1024), foldsMax),
    pair: maybe(structure({ name: text(1024), factor: oneOf(['a', 'b']) })),
  }),
  tensorsMax,
);
const digestPrefix = utf8('TRIB-LAYOUT');

/**
 * Names a layout: SHA-256 of `"TRIB-LAYOUT"` and the canonical list of what every tensor is and how it is combined, in layout order. What only
 * concerns local training (`decays`, `learningRateFactor`) is not part of it: the plan's hash binds that.
 */
export function layoutDigest(layout: AdapterLayout): Digest {
  const tensors = layout.tensors.map((tensor) => {
    const { name, shape, aggregationClass, countName = null, countIndex = null, pair = null } = tensor;
    const { countAxis = 'first', foldInto = [] } = tensor;
    return {
      name,
      type: 'float32',
      shape,
      aggregationClass,
      countName,
      countIndex,
      countAxis,
      foldInto,
      pair,
    } as const;
  });
  return digestOf(digestPrefix, encodeCanonical(layoutFormat, tensors));
}

/** What a tensor of a layout is, without its place: what manifests and records keep, and what {@link layoutOf} takes. */
export function specificationOf(tensor: AdapterLayout['tensors'][number]): TensorSpecification {
  const { offset: _offset, size: _size, ...specification } = tensor;
  return specification;
}
