/** A base model small enough for unit tests: a frozen embedding and one tanh block whose sublayer an adapter may change. */
import {
  add,
  gather,
  matMul,
  mul,
  type Rank,
  reshape,
  type Tensor2D,
  type Tensor3D,
  tanh,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { parseDigest } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import type { EncodedExample } from '../../../shared/data/encode.ts';
import { type ExampleSource, memorySource } from '../../../shared/data/example-source.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import type { Pooling } from '../../../shared/plan/task.ts';
import { createTaskModel, type TaskAdapter, type TaskModel } from '../../../shared/training/task-model.ts';

const hiddenSize = 8;
const vocabularySize = 20;

/** A fresh base on the current back end, the same numbers every time. */
export function fakeBase(): BaseModel {
  const random = seededRandom(5, 'fake-base');
  const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal());
  const embedding = tensor2d(normals(vocabularySize * hiddenSize), [vocabularySize, hiddenSize]);
  return {
    description: {
      family: 'fake',
      layerCount: 1,
      hiddenSize,
      headCount: 1,
      keyValueHeadCount: 1,
      headSize: hiddenSize,
      feedForwardSize: hiddenSize,
      vocabularySize,
      positionsMax: 16,
      norm: 'pre',
      causal: false,
      hasLanguageModelHead: true,
      linearTargets: {},
      digest: parseDigest('ab'.repeat(32)),
      tensors: new Map(),
      parameterCount: vocabularySize * hiddenSize,
    },
    encode: ({ inputIds }, hooks) => {
      const [rowCount, sequenceLength] = inputIds.shape;
      const residual: Tensor3D = reshape(gather(embedding, reshape(inputIds, [-1])), [
        rowCount,
        sequenceLength,
        hiddenSize,
      ]);
      const output = tanh(residual);
      const site = { layerIndex: 0, sublayer: 'feedForward' } as const;
      return hooks?.sublayer?.(site, output, residual, undefined) ?? output;
    },
    languageModelScores: (hidden) => hidden,
    dispose: () => embedding.dispose(),
  };
}

/** `h + (mask * h) A`, with dropout of a fifth in training, and a frozen bias that no step may change. */
export const fakeAdapter: TaskAdapter = {
  tensors: [
    { name: 'fake.kernel', shape: [hiddenSize, hiddenSize], aggregationClass: 'mean', decays: true },
    { name: 'fake.frozen', shape: [hiddenSize], aggregationClass: 'frozen', decays: true },
  ],
  initialise: ({ name, shape }) =>
    new Float32Array(shape.reduce((product, extent) => product * extent, 1)).fill(name === 'fake.frozen' ? 1 : 0),
  hooks: ({ parameters, training, random }) => ({
    sublayer: (_, output) => {
      const kernel = parameters.get('fake.kernel') as Tensor2D;
      const [rowCount, sequenceLength] = output.shape;
      const flat: Tensor2D = reshape(output, [-1, hiddenSize]);
      const kept = Float32Array.from({ length: flat.size }, () => (training && random.uniform() < 0.2 ? 0 : 1));
      const masked: Tensor2D = mul(flat, tensor2d(kept, flat.shape));
      const frozen = parameters.get('fake.frozen')!;
      return reshape<Rank.R3>(mul(add(flat, matMul(masked, kernel)), frozen), [rowCount, sequenceLength, hiddenSize]);
    },
  }),
};

/** No adapter: only the head trains. */
export const noAdapter: TaskAdapter = { tensors: [], initialise: () => new Float32Array(0), hooks: () => ({}) };

/** Examples of two classes that the tokens tell apart: class 0 draws mostly low ids, class 1 mostly high ones. */
export function fakeExamples(count: number, seed: number): EncodedExample[] {
  const random = seededRandom(seed, 'fake-examples');
  return Array.from({ length: count }, (_, index) => {
    const label = index % 2;
    const length = 2 + random.integer(9);
    const ids = Int32Array.from({ length }, () => random.integer(12) + label * 8);
    return { ids, targets: Int32Array.of(label) };
  });
}

/** The same as a source. */
export function fakeSource(count: number, seed: number): ExampleSource {
  return memorySource(fakeExamples(count, seed));
}

/** A classification of two classes, or as many as there are `labels`, on a fresh fake base. */
export function fakeClassifier({
  adapter = fakeAdapter,
  labels = ['low', 'high'],
  pooling = 'mean',
  base = fakeBase(),
  padId = 0,
}: {
  readonly adapter?: TaskAdapter;
  readonly labels?: readonly string[];
  readonly pooling?: Pooling;
  readonly base?: BaseModel;
  readonly padId?: number;
} = {}): TaskModel {
  const task = { kind: 'classification', labels, pooling, lengthMax: 16 } as const;
  return createTaskModel({ base, adapter, task, tokenizer: { padId } });
}
