/**
 * A sequence classifier: frozen base, adapter, and a linear head on the pooled last hidden state. It binds what is trained to one flat
 * layout: first the adapter's tensors in their order, then `head.kernel` and `head.bias`.
 */
import {
  mul,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tensor3d,
} from '@tensorflow/tfjs-core';
import type { AdapterContext } from '../adapters/method.ts';
import { trainableLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';
import type { EncodedBatch } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { BaseModel, SiteHooks } from '../model/base-model.ts';
import type { AdapterLayout, TensorSpecification } from '../update/layout.ts';
import { classifierLayout, initialValues } from './initial-adapter.ts';

/** Which token stands for the text: the first (encoders with a class token), the last, or the mean over all that are not padding. */
export type Pooling = 'first' | 'last' | 'mean';

/** The trainable tensors of one forward pass by layout name. */
export type Parameters = ReadonlyMap<string, Tensor>;

/** What the classifier needs of an adapter: a method bound to its configuration and to the base. */
export interface ClassifierAdapter {
  readonly tensors: readonly TensorSpecification[];
  initialise(specification: TensorSpecification, random: SeededRandom): Float32Array;
  hooks(context: AdapterContext): SiteHooks;
}

/** How a forward pass runs: training switches adapter dropout on, which draws from `random`. */
export type PassMode = Pick<AdapterContext, 'training' | 'random'>;

/** What {@link createClassifier} needs. */
export interface ClassifierOptions {
  readonly base: BaseModel;
  readonly adapter: ClassifierAdapter;
  readonly labels: readonly string[];
  readonly pooling: Pooling;
  /** Token id of padding; any id will do, since masks hide it. */
  readonly padId?: number;
}

/** A classifier; its functions allocate tensors, so callers run them inside `tidy`. */
export interface Classifier {
  readonly labels: readonly string[];
  readonly layout: AdapterLayout;
  readonly padId: number;
  readonly lengthMax: number;
  /** True when only the head trains: then pooled states of the base are the same in every epoch and are kept in `pooledStates`. */
  readonly isHeadAlone: boolean;
  /** Pooled states `[hidden]` by example, filled by `features.ts` where only the head trains. */
  readonly pooledStates: WeakMap<EncodedExample, Float32Array>;
  /** Start values in layout order: identity for the adapter, small normal numbers for the head's kernel, zero for its bias. */
  initialise(seed: number): Float32Array;
  /** Pooled last hidden states `[rows, hidden]`. */
  pool(parameters: Parameters, batch: EncodedBatch, mode: PassMode): Tensor2D;
  /** Scores `[rows, labels]` of pooled states `[rows, hidden]`. */
  score(parameters: Parameters, pooled: Tensor2D): Tensor2D;
  /** Scores `[rows, labels]` of a batch. */
  logits(parameters: Parameters, batch: EncodedBatch, mode: PassMode): Tensor2D;
}

/** Binds base, adapter and head. */
export function createClassifier({ base, adapter, labels, pooling, padId = 0 }: ClassifierOptions): Classifier {
  assert(labels.length >= 2, `a classifier needs at least two labels, found ${labels.length}`);
  const { hiddenSize, positionsMax } = base.description;
  const layout = classifierLayout(adapter, { hiddenSize, labelCount: labels.length });
  const pool: Classifier['pool'] = (parameters, batch, mode) => {
    const shape: [number, number] = [batch.rowCount, batch.sequenceLength];
    const inputIds = tensor2d(batch.ids, shape, 'int32');
    const attentionMask = tensor2d(maskOf(batch), shape, 'int32');
    const hidden = base.encode({ inputIds, attentionMask }, adapter.hooks({ parameters, ...mode }));
    return sum(mul(hidden, poolingWeights(batch, pooling)), 1) as Tensor2D;
  };
  const score: Classifier['score'] = (parameters, pooled) =>
    trainableLinear(pooled, named(parameters, 'head.kernel') as Tensor2D, named(parameters, 'head.bias') as Tensor1D);
  return {
    labels,
    layout,
    padId,
    lengthMax: positionsMax,
    isHeadAlone: adapter.tensors.length === 0,
    pooledStates: new WeakMap(),
    initialise: (seed) => initialValues(layout, adapter, seed),
    pool,
    score,
    logits: (parameters, batch, mode) => score(parameters, pool(parameters, batch, mode)),
  };
}

function named(parameters: Parameters, name: string): Tensor {
  const tensor = parameters.get(name);
  assert(tensor !== undefined, `the parameters hold no tensor ${name}`);
  return tensor;
}

function maskOf({ lengths, rowCount, sequenceLength }: EncodedBatch): Int32Array {
  const mask = new Int32Array(rowCount * sequenceLength);
  for (const [row, length] of lengths.entries()) mask.fill(1, row * sequenceLength, row * sequenceLength + length);
  return mask;
}

/** Weights `[rows, sequence, 1]` whose weighted sum over the sequence is the pooled state: one product for all three ways of pooling. */
function poolingWeights({ lengths, rowCount, sequenceLength }: EncodedBatch, pooling: Pooling): Tensor3D {
  const weights = new Float32Array(rowCount * sequenceLength);
  for (const [row, length] of lengths.entries()) {
    const start = row * sequenceLength;
    if (pooling === 'mean') weights.fill(1 / length, start, start + length);
    else weights[pooling === 'first' ? start : start + length - 1] = 1;
  }
  return tensor3d(weights, [rowCount, sequenceLength, 1]);
}
