/** Folders of PEFT: `adapter_config.json` and `adapter_model.safetensors` as PEFT saves them, beside the base. */
import { join } from 'node:path';
import {
  add,
  matMul,
  mean,
  mul,
  slice,
  type Tensor,
  type Tensor3D,
  tanh,
  tensor,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { type SafetensorsFile, tensorValues } from '../../shared/model/safetensors.ts';
import type { TensorSpecification } from '../../shared/update/layout.ts';
import { runAdapted } from './adapted-case.ts';
import { brokenCase, type CaseKind, type Findings, missingCase } from './case.ts';
import { batchOf, entryOf, floatsOf, readObject, readTensors } from './fixture-files.ts';
import { mapPeftName, missingForPeft, translatePeft } from './peft-settings.ts';

/** The kind of `peft_*` with one adapter. */
export const peftCases: CaseKind = {
  recognises: ({ entries }) => entries.has('adapter_config.json') || entries.has('adapter_model.safetensors'),
  open: async ({ name, path }) => {
    try {
      const settings = await readObject(join(path, 'adapter_config.json'));
      const missing = missingForPeft(settings);
      if (missing !== null) return [missingCase(name, missing)];
      return [{ name, missing: null, compute: (model) => compute(model, path, settings) }];
    } catch (cause) {
      return [brokenCase(name, cause)];
    }
  },
};

async function compute(base: BaseModel, path: string, settings: Readonly<Record<string, unknown>>): Promise<Findings> {
  const expected = await readTensors(join(path, 'expected.safetensors'));
  const saved = await readTensors(join(path, 'adapter_model.safetensors'));
  const { description } = base;
  const adapter = parseAdapter(translatePeft(settings, [...saved.tensors.keys()], description), description);
  const references = [...saved.tensors].map(([reference, entry]) => {
    return { mapping: mapPeftName(reference, description), shape: entry.shape, values: tensorValues(entry) };
  });
  const batch = batchOf(expected);
  const probe = tensor(floatsOf(expected, 'probe'), [...entryOf(expected, 'probe').shape]);
  const mask = batch.attentionMask.toFloat().expandDims(2);
  const isClassifier = settings.task_type === 'SEQ_CLS';
  // The reference's loss is mean(logits * probe * mask), of a classifier mean(logits * probe).
  const lossOf = (logits: Tensor) => mean(isClassifier ? mul(logits, probe) : mul(mul(logits, probe), mask));
  const head = isClassifier ? await classifierOf(path, saved) : null;
  const outputOf = head?.scores ?? ((hidden: Tensor3D) => base.languageModelScores(hidden));
  const further = head?.tensors ?? [];
  const { output, loss, gradients } = runAdapted({ base, batch, adapter, further, references, outputOf, lossOf });
  return {
    expected,
    outputs: new Map([
      ['logits', output],
      ['loss', loss],
    ]),
    gradients,
  };
}

/** BERT's sequence classifier: a frozen pooler (dense and tanh of the first token) and the trained linear head. */
async function classifierOf(path: string, saved: SafetensorsFile) {
  const base = await readTensors(join(path, 'model.safetensors'));
  const weight = entryOf(base, 'bert.pooler.dense.weight');
  const kernel = tensor2d(tensorValues(weight), [weight.shape[0]!, weight.shape[1]!]).transpose();
  const bias = tensor(floatsOf(base, 'bert.pooler.dense.bias'));
  const [labelCount, hiddenSize] = entryOf(saved, 'base_model.model.classifier.weight').shape as [number, number];
  const fixed = { aggregationClass: 'mean', decays: true } as const;
  const tensors: TensorSpecification[] = [
    { name: 'head.kernel', shape: [hiddenSize, labelCount], ...fixed },
    { name: 'head.bias', shape: [labelCount], ...fixed },
  ];
  const scores = (hidden: Tensor3D, parameters: ReadonlyMap<string, Tensor>): Tensor => {
    const [batchSize] = hidden.shape;
    const first = slice(hidden, [0, 0, 0], [batchSize, 1, hiddenSize]).reshape([batchSize, hiddenSize]);
    const pooled = tanh(add(matMul(first, kernel), bias));
    return add(matMul(pooled, parameters.get('head.kernel')!), parameters.get('head.bias')!);
  };
  return { tensors, scores };
}
