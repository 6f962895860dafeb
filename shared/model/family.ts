/** What a family of base models is: how to read its configuration and tensors, and how to build the network from them. */

import type { FrozenPrecision } from '../compute/compact-matrix.ts';
import { FormatError } from '../core/errors.ts';
import type { BaseDescription, BaseModel } from './base-model.ts';
import { bert } from './bert.ts';
import type { CheckpointSpecification, CheckpointTensors } from './checkpoint.ts';
import type { Configuration } from './configuration.ts';
import { distilbert } from './distilbert.ts';
import { gpt2 } from './gpt2.ts';
import { llama } from './llama.ts';
import { qwen2 } from './qwen2.ts';
import { qwen3 } from './qwen3.ts';
import { roberta } from './roberta.ts';

/** Facts that a configuration fixes; the others come from the files. */
export type Architecture = Omit<BaseDescription, 'digest' | 'parameterCount' | 'tensors' | 'hasLanguageModelHead'>;

/** A configuration as one family reads it. */
export interface ReadModel {
  readonly architecture: Architecture;
  readonly checkpoint: CheckpointSpecification;
  /** The tensor without which the checkpoint has no language-model head; null where the word embeddings are one. */
  readonly headTensor: string | null;
  /** Puts the tensors on the current back end. */
  build(tensors: CheckpointTensors, description: BaseDescription, precision?: FrozenPrecision): BaseModel;
}

/** Reads a configuration. @throws FormatError for what the family's code here cannot compute. */
export type Family = (configuration: Configuration) => ReadModel;

const families: Readonly<Record<string, Family>> = { bert, roberta, distilbert, gpt2, llama, qwen2, qwen3 };

/** Reads the configuration of a known family. @throws FormatError `unsupported-family`, and what the family throws. */
export function readModel(configuration: Configuration): ReadModel {
  const modelType = configuration.model_type;
  const family = typeof modelType === 'string' && Object.hasOwn(families, modelType) ? families[modelType]! : null;
  if (family !== null) return family(configuration);
  throw new FormatError(
    'unsupported-family',
    `config.json: model_type is ${JSON.stringify(modelType) ?? 'absent'}; this version reads ${Object.keys(families).join(', ')}`,
  );
}
