/**
 * The network of the step benchmark as one writes it with the library alone: its operations and its gradients. What the product's fused
 * operations are measured against; equal weights, equal results.
 */
import {
  add,
  div,
  erf,
  gather,
  matMul,
  mean,
  mul,
  relu,
  reshape,
  softmax,
  sqrt,
  square,
  sub,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tensor,
  transpose,
} from '@tensorflow/tfjs-core';
import type { BaseDescription, BaseModel, Sublayer } from '../../shared/model/base-model.ts';
import { readSafetensors, tensorValues } from '../../shared/model/safetensors.ts';
import type { TaskAdapter } from '../../shared/training/task-model.ts';

/** The encoder with plain operations over the files that `networkFrom` reads. */
export function plainEncoder(files: ReadonlyMap<string, Uint8Array>, description: BaseDescription): BaseModel {
  const { tensors } = readSafetensors(files.get('model.safetensors')!, 'model.safetensors');
  const weights = new Map(
    [...tensors].map(([name, entry]) => {
      const value = tensor(tensorValues(entry), [...entry.shape]);
      return [name, entry.shape.length === 2 && !name.startsWith('embeddings') ? transpose(value) : value];
    }),
  );
  const weight = (name: string) => weights.get(name)!;
  const linear = (rows: Tensor, name: string) => add(matMul(rows, weight(`${name}.weight`)), weight(`${name}.bias`));
  const norm = (x: Tensor, name: string): Tensor => {
    const centred = sub(x, mean(x, -1, true));
    const variance = mean(square(centred), -1, true);
    return add(mul(div(centred, sqrt(add(variance, 1e-12))), weight(`${name}.weight`)), weight(`${name}.bias`));
  };
  const gelu = (x: Tensor): Tensor => mul(mul(x, 0.5), add(1, erf(mul(x, Math.SQRT1_2))));
  const { hiddenSize, headCount, layerCount } = description;
  const headSize = hiddenSize / headCount;
  return {
    description,
    encode: ({ inputIds, attentionMask }, hooks) => {
      const [batchSize, sequenceLength] = inputIds.shape;
      const unrolled = (rows: Tensor): Tensor3D => reshape(rows, [batchSize, sequenceLength, hiddenSize]);
      const rolled = (states: Tensor): Tensor => reshape(states, [-1, hiddenSize]);
      const heads = (rows: Tensor) =>
        transpose(reshape(rows, [batchSize, sequenceLength, headCount, headSize]), [0, 2, 1, 3]);
      const mask = mul(sub(reshape(attentionMask, [batchSize, 1, 1, sequenceLength]), 1), 1e9);
      const words = gather(weight('embeddings.word_embeddings.weight'), reshape(inputIds, [-1]));
      const positioned = add(unrolled(words), weight('embeddings.position_embeddings.weight'));
      const types = gather(weight('embeddings.token_type_embeddings.weight'), [0]);
      let rows = norm(rolled(add(positioned, types)), 'embeddings.LayerNorm');
      for (let layerIndex = 0; layerIndex < layerCount; layerIndex++) {
        const stem = `encoder.layer.${layerIndex}`;
        const end = (sublayer: Sublayer, output: Tensor, residual: Tensor, name: string): Tensor => {
          const hostNorm = (states: Tensor3D) => unrolled(norm(rolled(states), name));
          const site = { layerIndex, sublayer };
          const replaced = hooks?.sublayer?.(site, unrolled(output), unrolled(residual), hostNorm);
          return replaced === undefined ? norm(add(output, residual), name) : rolled(replaced);
        };
        const [q, k, v] = ['query', 'key', 'value'].map((name) =>
          heads(linear(rows, `${stem}.attention.self.${name}`)),
        );
        const scores = add(mul(matMul(q!, k!, false, true), 1 / Math.sqrt(headSize)), mask);
        const mixed = rolled(transpose(matMul(softmax(scores), v!), [0, 2, 1, 3]));
        const attended = linear(mixed, `${stem}.attention.output.dense`);
        rows = end('attention', attended, rows, `${stem}.attention.output.LayerNorm`);
        const inner = gelu(linear(rows, `${stem}.intermediate.dense`));
        rows = end('feedForward', linear(inner, `${stem}.output.dense`), rows, `${stem}.output.LayerNorm`);
      }
      return unrolled(rows);
    },
    languageModelScores: (hidden) => hidden,
    dispose: () => {
      for (const value of weights.values()) value.dispose();
    },
  };
}

/** A sequential bottleneck (Pfeiffer placement, ReLU) with the layout and start of `bound`, in plain operations. */
export function plainBottleneck(bound: TaskAdapter): TaskAdapter {
  return {
    tensors: bound.tensors,
    initialise: (specification, random) => bound.initialise(specification, random),
    hooks: ({ parameters }) => ({
      lowestLayerIndex: 0,
      sublayer: ({ layerIndex, sublayer }, output, residual, norm) => {
        if (sublayer !== 'feedForward') return undefined;
        const named = (part: string) => parameters.get(`layers.${layerIndex}.feedForward.bottleneck.${part}`)!;
        const sum: Tensor3D = add(output, residual);
        const rows: Tensor2D = reshape(norm!(sum), [-1, output.shape[2]]);
        const inner = relu(add(matMul(rows, named('down.kernel')), named('down.bias')));
        const adapted = add(matMul(inner, named('up.kernel')), named('up.bias'));
        return norm!(add(sum, reshape(adapted, sum.shape)));
      },
    }),
  };
}
