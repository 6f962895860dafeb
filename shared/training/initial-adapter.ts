/**
 * What a classifier trains, and with which values it starts, from the description of a base alone: no tensor of the base is loaded, so the
 * coordinator computes the same bytes as every client without a back end.
 */
import { assert } from '../core/assert.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import { type AdapterLayout, layoutOf, type TensorSpecification } from '../update/layout.ts';

/** What the start of an adapter needs of its method: a part of `ClassifierAdapter`. */
export interface AdapterStart {
  readonly tensors: readonly TensorSpecification[];
  initialise(specification: TensorSpecification, random: SeededRandom): Float32Array;
}

/** Standard deviation of the head's start values (Devlin 2019 uses the same for its classifier). */
const headDeviation = 0.02;

/** The layout of a classifier: the adapter's tensors in their order, then `head.kernel` `[hidden, labels]` and `head.bias` `[labels]`. */
export function classifierLayout(
  { tensors }: Pick<AdapterStart, 'tensors'>,
  { hiddenSize, labelCount }: { readonly hiddenSize: number; readonly labelCount: number },
): AdapterLayout {
  return layoutOf([
    ...tensors,
    { name: 'head.kernel', shape: [hiddenSize, labelCount], aggregationClass: 'mean', decays: true },
    { name: 'head.bias', shape: [labelCount], aggregationClass: 'mean', decays: false },
  ]);
}

/** Start values `[dim]` of a seed: identity for the adapter, small normal numbers for the head's kernel, zero for its bias. */
export function initialValues(layout: AdapterLayout, adapter: AdapterStart, seed: number): Float32Array {
  const values = new Float32Array(layout.dim);
  const random = seededRandom(seed, 'initialise');
  for (const tensor of layout.tensors)
    values.set(initialTensor(tensor, adapter, random.fork(tensor.name)), tensor.offset);
  return values;
}

function initialTensor(
  tensor: AdapterLayout['tensors'][number],
  adapter: AdapterStart,
  random: SeededRandom,
): Float32Array {
  if (tensor.name === 'head.bias') return new Float32Array(tensor.size);
  if (tensor.name === 'head.kernel')
    return Float32Array.from({ length: tensor.size }, () => headDeviation * random.normal());
  const values = adapter.initialise(tensor, random);
  assert(
    values.length === tensor.size,
    `${tensor.name} has ${tensor.size} values, its initialisation ${values.length}`,
  );
  return values;
}
