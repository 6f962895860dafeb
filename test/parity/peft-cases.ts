/** Folders of PEFT: `adapter_config.json` and `adapter_model.safetensors` as PEFT saves them, beside the base. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  add,
  matMul,
  mean,
  mul,
  pad,
  slice,
  type Tensor,
  type Tensor3D,
  tanh,
  tensor,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { toOurs } from '../../shared/adapters/formats/foreign-tensors.ts';
import { type PeftContent, peftFiles, peftTypes, readPeft } from '../../shared/adapters/formats/peft.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { BaseDescription, BaseModel } from '../../shared/model/base-model.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { readSafetensors, tensorValues } from '../../shared/model/safetensors.ts';
import type { TensorSpecification } from '../../shared/update/layout.ts';
import { runAdapted } from './adapted-case.ts';
import { brokenCase, type CaseKind, type Findings, missingCase } from './case.ts';
import { batchOf, checkpointFiles, entryOf, floatsOf, readObject, readTensors } from './fixture-files.ts';

/** The kind of `peft_*` with one adapter. */
export const peftCases: CaseKind = {
  recognises: ({ entries }) => entries.has('adapter_config.json') || entries.has('adapter_model.safetensors'),
  open: async ({ name, path }) => {
    try {
      const { peft_type: type } = await readObject(join(path, peftFiles.configuration));
      if (!peftTypes.includes(String(type))) return [missingCase(name, `method ${String(type)}`)];
      const description = describeFiles(await checkpointFiles(path));
      await readAdapter(path, description);
    } catch (cause) {
      if (!(cause instanceof FederationError)) return [brokenCase(name, cause)];
      if (cause.code === 'unsupported-adapter') return [missingCase(name, cause.message)];
      if (cause.code !== 'unsupported-family') return [brokenCase(name, cause)];
    }
    return [{ name, missing: null, compute: (model) => compute(model, path) }];
  },
};

async function readAdapter(path: string, base: BaseDescription): Promise<PeftContent> {
  const [configuration, tensors, checkpoint] = await Promise.all([
    readFile(join(path, peftFiles.configuration)),
    readFile(join(path, peftFiles.tensors)),
    checkpointFiles(path),
  ]);
  const weights = readSafetensors(checkpoint.get('model.safetensors')!, 'model.safetensors');
  return readPeft({ configuration, tensors }, base, (name) => {
    const full = [...weights.tensors.keys()].find((own) => own === name || own.endsWith(`.${name}`));
    return floatsOf(weights, full ?? name);
  });
}

async function compute(base: BaseModel, path: string): Promise<Findings> {
  const expected = await readTensors(join(path, 'expected.safetensors'));
  const { adapter, values, mappings, taskType, saved } = await readAdapter(path, base.description);
  const batch = batchOf(expected);
  const probe = tensor(floatsOf(expected, 'probe'), [...entryOf(expected, 'probe').shape]);
  const mask = batch.attentionMask.toFloat().expandDims(2);
  const isClassifier = taskType === 'SEQ_CLS';
  // The reference's loss is mean(logits * probe * mask), of a classifier mean(logits * probe).
  // Virtual tokens in front count as tokens.
  const seen = (logits: Tensor) =>
    pad(
      mask,
      [
        [0, 0],
        [logits.shape[1]! - mask.shape[1]!, 0],
        [0, 0],
      ],
      1,
    );
  const lossOf = (logits: Tensor) => mean(isClassifier ? mul(logits, probe) : mul(mul(logits, probe), seen(logits)));
  const head = isClassifier ? await classifierOf(path, saved) : null;
  const outputOf = head?.scores ?? ((hidden: Tensor3D) => base.languageModelScores(hidden));
  const further = head?.tensors ?? [];
  const run = {
    base,
    batch,
    adapter,
    further,
    values: new Map([...values, ...(head?.values ?? [])]),
    mappings: [...mappings, ...(head?.mappings ?? [])],
  };
  const { output, loss, gradients } = await runAdapted({ ...run, outputOf, lossOf });
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
async function classifierOf(path: string, saved: PeftContent['saved']) {
  const base = await readTensors(join(path, 'model.safetensors'));
  const weight = entryOf(base, 'bert.pooler.dense.weight');
  const kernel = tensor2d(tensorValues(weight), [weight.shape[0]!, weight.shape[1]!]).transpose();
  const bias = tensor(floatsOf(base, 'bert.pooler.dense.bias'));
  const [labelCount, hiddenSize] = saved.get('classifier.weight')!.shape as [number, number];
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
  const mappings = [
    {
      name: 'base_model.model.classifier.weight',
      shape: [labelCount, hiddenSize],
      parts: ['head.kernel'],
      transposed: true,
    },
    { name: 'base_model.model.classifier.bias', shape: [labelCount], parts: ['head.bias'], transposed: false },
  ];
  const entries = new Map([...saved].map(([name, entry]) => [`base_model.model.${name}`, entry]));
  return { tensors, mappings, values: toOurs(mappings, entries), scores };
}
