/**
 * The layout of an update: which tensors, in which order, of which aggregation class. An update is one flat float32 vector in this order,
 * and every signature binds the layout's digest. Layers, methods and heads contribute their tensors in a fixed order.
 */
import { utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import { encodeCanonical, u32 } from '../protocol/canonical.ts';
import { list, oneOf, structure, text } from '../protocol/canonical-compound.ts';

/**
 * How clients' values of one tensor may be combined: `mean` is a weighted mean; `frozen` never changes; `local` never leaves the client.
 * Further classes arrive with the methods that need them.
 */
export type AggregationClass = 'mean' | 'frozen' | 'local';

/** One tensor of a layout. */
export interface TensorSpecification {
  /** Unique dotted name, for example `layers.0.feedForward.bottleneck.down.kernel`. */
  readonly name: string;
  /** Dimensions, each at least 1; a kernel is `[in, out]`. */
  readonly shape: readonly number[];
  readonly aggregationClass: AggregationClass;
  /** Whether weight decay applies: kernels and factors yes, biases, scales and norms no. */
  readonly decays: boolean;
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
const [tensorsMax, dimensionsMax] = [100_000, 8];
const layoutFormat = list(
  structure({
    name: text(1024),
    type: oneOf(['float32']),
    shape: list(u32, dimensionsMax),
    aggregationClass: oneOf(['mean', 'frozen', 'local']),
  }),
  tensorsMax,
);
const digestPrefix = utf8('TRIB-LAYOUT');

/**
 * Names a layout: SHA-256 of `"TRIB-LAYOUT"` and the canonical list of (name, type, shape, aggregation class) in layout order. What only
 * concerns local training (`decays`) is not part of it: the plan's hash binds that.
 */
export function layoutDigest(layout: AdapterLayout): Digest {
  const tensors = layout.tensors.map(({ name, shape, aggregationClass }) => {
    return { name, type: 'float32', shape, aggregationClass } as const;
  });
  return digestOf(digestPrefix, encodeCanonical(layoutFormat, tensors));
}
