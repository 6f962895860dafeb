/**
 * From the files of a checkpoint to a base model: checks first, tensors last. Files are in memory, as in browsers, or wherever they can be
 * read in ranges; folders are read by `load.node.ts`.
 */
import type { FrozenPrecision } from '../compute/compact-matrix.ts';
import { FormatError } from '../core/errors.ts';
import type { BaseDescription, BaseModel } from './base-model.ts';
import { type ByteSource, sourceOf } from './byte-source.ts';
import { type CheckpointTensors, computedShapes, matchCheckpoint } from './checkpoint.ts';
import { type Configuration, parseJsonObject } from './configuration.ts';
import { type DigestPart, digestPartsOf, hashParts } from './digest.ts';
import { type ReadModel, readModel } from './family.ts';
import { type BaseContent, readSmallFile, readWeights } from './shards.ts';
import { valueCountOf } from './stored-tensor.ts';
import { createTokenizer, type Tokenizer } from './tokenizer.ts';

/** Names of the files beside the weights that make a base model. The last is optional. */
export const settingsNames = ['config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

/** Files by name: their bytes, or where these are read from. */
export type BaseFiles = ReadonlyMap<string, Uint8Array | ByteSource>;

/** A base model ready to compute, with its tokenizer. */
export interface LoadedBase {
  readonly model: BaseModel;
  readonly tokenizer: Tokenizer;
}

/** How a base is held. */
export interface LoadSettings {
  /** How its weights are kept; by default as the file holds them where that saves much, which changes nothing. */
  readonly frozenWeights?: FrozenPrecision | undefined;
}

/** A checkpoint whose files fit together; no weight was read yet. */
export interface ExaminedBase {
  readonly configuration: Configuration;
  readonly read: ReadModel;
  readonly tensors: CheckpointTensors;
  /** What its digest is the hash of. */
  readonly digestParts: readonly DigestPart[];
  /** All of the description but the digest. */
  readonly facts: Omit<BaseDescription, 'digest'>;
  /** The bytes of `tokenizer.json` and `tokenizer_config.json`, as far as they are there. */
  readonly tokenizerFiles: { readonly tokenizer: Uint8Array | undefined; readonly settings: Uint8Array | undefined };
}

/**
 * Checks the files and puts the base on the current back end. Weights are copied: whoever does not need `files` any longer lets go of them.
 * @throws FormatError that names the file and what is wrong with it.
 */
export async function baseModelFrom(files: BaseFiles, settings: LoadSettings = {}): Promise<LoadedBase> {
  const examined = examineBase(contentOf(files));
  const tokenizer = tokenizerOf(examined);
  return { model: build(examined, settings), tokenizer };
}

/** Like {@link baseModelFrom} without a tokenizer, for checkpoints that come with none. @throws FormatError. */
export function networkFrom(files: BaseFiles, settings: LoadSettings = {}): BaseModel {
  return build(examineBase(contentOf(files)), settings);
}

/** What a base is, without a tensor on any back end. Reads every byte, since the digest binds them. @throws FormatError. */
export function describeFiles(files: BaseFiles): BaseDescription {
  return describe(examineBase(contentOf(files)));
}

/** What an examined base is. Reads every byte. */
export function describe({ facts, digestParts }: ExaminedBase): BaseDescription {
  return { ...facts, digest: hashParts(digestParts) };
}

/** Checks the files of a base against each other, without reading weights. @throws FormatError that names the file. */
export function examineBase(content: BaseContent): ExaminedBase {
  const { names, where } = content;
  const bytesOf = (name: string): Uint8Array | undefined =>
    names.includes(name) ? readSmallFile(content, name) : undefined;
  const settings = bytesOf('config.json');
  if (settings === undefined) {
    const found = names.join(', ') || 'no file';
    throw new FormatError('missing-file', `a base model needs config.json; found ${found} in ${where}`);
  }
  const configuration = parseJsonObject(settings, 'config.json');
  const read = readModel(configuration);
  const weights = readWeights(content);
  const tensors = matchCheckpoint(weights, read.checkpoint, 'the checkpoint');
  const parameterCount = [...tensors.values()].reduce((sum, tensor) => sum + valueCountOf(tensor), 0);
  const tokenizerFiles = { tokenizer: bytesOf('tokenizer.json'), settings: bytesOf('tokenizer_config.json') };
  return {
    configuration,
    read,
    tensors,
    digestParts: digestPartsOf(configuration, weights, tokenizerFiles),
    facts: {
      ...read.architecture,
      parameterCount,
      tensors: computedShapes(read.checkpoint, tensors),
      hasLanguageModelHead: read.headTensor === null || tensors.has(read.headTensor),
    },
    tokenizerFiles,
  };
}

/** The tokenizer of an examined base. @throws FormatError `missing-file`, `bad-tokenizer`. */
export function tokenizerOf({ configuration, facts, tokenizerFiles }: ExaminedBase): Tokenizer {
  const { tokenizer, settings } = tokenizerFiles;
  if (tokenizer === undefined) {
    throw new FormatError(
      'missing-file',
      'this base has no tokenizer.json; save one with AutoTokenizer.from_pretrained(…).save_pretrained(…) of Transformers',
    );
  }
  return createTokenizer({ tokenizer, settings, configuration, vocabularySize: facts.vocabularySize });
}

function build(examined: ExaminedBase, { frozenWeights }: LoadSettings): BaseModel {
  return examined.read.build(examined.tensors, describe(examined), frozenWeights);
}

function contentOf(files: BaseFiles): BaseContent {
  return {
    where: 'the set of files',
    names: [...files.keys()],
    open: (name) => sourceOf(files.get(name)!),
  };
}
