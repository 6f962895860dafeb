/** Runs a base with an adapter whose values come from a reference: outputs, loss, and gradients of all that train. */
import { type Tensor, type Tensor3D, tensor, tidy } from '@tensorflow/tfjs-core';
import { foreignValues, type TensorMapping } from '../../shared/adapters/formats/foreign-tensors.ts';
import type { BoundAdapter } from '../../shared/adapters/registry.ts';
import { valueAndGradients } from '../../shared/compute/value-and-gradients.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { BaseModel, TokenBatch } from '../../shared/model/base-model.ts';
import type { TensorSpecification } from '../../shared/update/layout.ts';

/** What {@link runAdapted} needs. */
export interface AdaptedRun {
  readonly base: BaseModel;
  readonly batch: TokenBatch;
  readonly adapter: BoundAdapter;
  /** Parameters beside the adapter's, such as a classifier's. */
  readonly further?: readonly TensorSpecification[];
  /** Values of all parameters by our names. */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** The reference's parameters in terms of ours. */
  readonly mappings: readonly TensorMapping[];
  /** From the last hidden state to what the reference calls its output. */
  readonly outputOf: (hidden: Tensor3D, parameters: ReadonlyMap<string, Tensor>) => Tensor;
  /** The reference's loss of that output. */
  readonly lossOf: (output: Tensor) => Tensor;
}

/** What came out. */
export interface AdaptedFindings {
  readonly output: Float32Array;
  readonly loss: Float32Array;
  /** By the reference's names. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Runs forward and backward, without dropout. Values are read asynchronously, the only way that graphics devices have in every browser. */
export async function runAdapted(run: AdaptedRun): Promise<AdaptedFindings> {
  const { base, batch, adapter, further = [], values, mappings, outputOf, lossOf } = run;
  const specifications = [...adapter.tensors, ...further];
  const leaves = specifications.map(({ name, shape }) => tensor(values.get(name)!, [...shape]));
  const isTrained = specifications.map(({ aggregationClass }) => aggregationClass !== 'frozen');
  const forward = (trained: readonly Tensor[]): Tensor => {
    const rest = [...trained];
    const tensors = leaves.map((leaf, index) => (isTrained[index] ? rest.shift()! : leaf));
    const parameters = new Map(specifications.map(({ name }, index) => [name, tensors[index]!]));
    const hooks = adapter.hooks({ parameters, training: false, random: seededRandom(0) });
    return outputOf(base.encode(batch, hooks), parameters);
  };
  const trained = leaves.filter((_, index) => isTrained[index]);
  const { value, gradients } = valueAndGradients(
    (...tensors: readonly Tensor[]) => lossOf(forward(tensors)).asScalar(),
    trained,
  );
  const names = specifications.filter((_, index) => isTrained[index]).map(({ name }) => name);
  const ours = new Map<string, Float32Array>();
  for (const [index, name] of names.entries()) ours.set(name, await floatsOf(gradients[index]!));
  const learned = mappings.filter(({ parts }) => parts.every((part) => ours.has(part)));
  return {
    output: await floatsOf(tidy(() => forward(trained))),
    loss: await floatsOf(value),
    gradients: new Map(learned.map((mapping) => [mapping.name, foreignValues(mapping, ours)])),
  };
}

async function floatsOf(values: Tensor): Promise<Float32Array> {
  return (await values.data()) as Float32Array;
}
