/**
 * The layout of an update: which tensors, in which order, of which aggregation class. An update is one flat float32 vector in this order,
 * and every signature binds the layout's digest. Layers, methods and heads contribute their tensors in a fixed order.
 */

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
