/** From the files of a checkpoint folder to a base model: checks first, tensors last. */
import { FormatError } from '../core/errors.ts';
import type { BaseDescription, BaseModel } from './base-model.ts';
import { type CheckpointTensors, matchCheckpoint } from './checkpoint.ts';
import { type Configuration, parseJsonObject } from './configuration.ts';
import { baseDigestOf } from './digest.ts';
import { type ReadModel, readModel } from './family.ts';
import { readSafetensors } from './safetensors.ts';
import { createTokenizer, type Tokenizer } from './tokenizer.ts';

/** Names of the files that make a base model. The last is optional. */
export const baseFileNames = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'] as const;

/** Files by name. */
export type BaseFiles = ReadonlyMap<string, Uint8Array>;

/** A base model ready to compute, with its tokenizer. */
export interface LoadedBase {
  readonly model: BaseModel;
  readonly tokenizer: Tokenizer;
}

interface CheckedFiles {
  readonly configuration: Configuration;
  readonly read: ReadModel;
  readonly tensors: CheckpointTensors;
  readonly description: BaseDescription;
}

/**
 * Checks the files and puts the base on the current back end.
 * @throws FormatError that names the file and what is wrong with it.
 */
export async function baseModelFrom(files: BaseFiles): Promise<LoadedBase> {
  const checked = checkFiles(files);
  const tokenizer = createTokenizer({
    tokenizer: fileOf(files, 'tokenizer.json'),
    settings: files.get('tokenizer_config.json'),
    configuration: checked.configuration,
    vocabularySize: checked.description.vocabularySize,
  });
  return { model: build(checked), tokenizer };
}

/** Like {@link baseModelFrom} without a tokenizer, for checkpoints that come with none. @throws FormatError. */
export function networkFrom(files: BaseFiles): BaseModel {
  return build(checkFiles(files));
}

/** What a base is, without a tensor on any back end. Reads every byte, since the digest binds them. @throws FormatError. */
export function describeFiles(files: BaseFiles): BaseDescription {
  return checkFiles(files).description;
}

function build({ read, tensors, description }: CheckedFiles): BaseModel {
  return read.build(tensors, description);
}

function checkFiles(files: BaseFiles): CheckedFiles {
  const configuration = parseJsonObject(fileOf(files, 'config.json'), 'config.json');
  const read = readModel(configuration);
  const weights = readSafetensors(fileOf(files, 'model.safetensors'), 'model.safetensors');
  const tensors = matchCheckpoint(weights, read.checkpoint, 'model.safetensors');
  let parameterCount = 0;
  for (const { shape } of tensors.values()) parameterCount += shape.reduce((product, extent) => product * extent, 1);
  const digest = baseDigestOf(configuration, weights, {
    tokenizer: files.get('tokenizer.json'),
    settings: files.get('tokenizer_config.json'),
  });
  return { configuration, read, tensors, description: { ...read.architecture, digest, parameterCount } };
}

function fileOf(files: BaseFiles, name: string): Uint8Array {
  const bytes = files.get(name);
  if (bytes !== undefined) return bytes;
  throw new FormatError(
    'missing-file',
    `a base model needs ${name}; found ${[...files.keys()].join(', ') || 'no file'}`,
  );
}
