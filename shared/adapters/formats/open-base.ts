/** A base as files of other libraries need it: what it is, its configuration, and values of single tensors, none of which is kept. */
import { FormatError } from '../../core/errors.ts';
import type { BaseDescription } from '../../model/base-model.ts';
import { bytesInMemory } from '../../model/byte-source.ts';
import type { Configuration } from '../../model/configuration.ts';
import { describe, examineBase } from '../../model/load.ts';
import { type BaseContent, readWeights } from '../../model/shards.ts';
import { fillValues, valueCountOf } from '../../model/stored-tensor.ts';
import { modulesOf } from './module-paths.ts';

/** An opened base. */
export interface OpenBase {
  readonly description: BaseDescription;
  readonly configuration: Configuration;
  /** Values of a tensor by its name in the bare model. @throws FormatError `missing-tensor`. */
  readonly tensor: (name: string) => Float32Array;
}

/** Opens a base. Reads every byte once, since the digest binds them. @throws FormatError for a broken one. */
export function openBase(content: BaseContent): OpenBase {
  const examined = examineBase(content);
  const description = describe(examined);
  const weights = readWeights(content);
  const tensor = (name: string): Float32Array => {
    const stored = weights.get(`${modulesOf(description).model}.${name}`) ?? weights.get(name);
    if (stored === undefined)
      throw new FormatError(
        'missing-tensor',
        `the base has no tensor ${name}, which the files of this adapter depend on`,
      );
    const values = new Float32Array(valueCountOf(stored));
    fillValues(stored, values);
    return values;
  };
  return { description, configuration: examined.configuration, tensor };
}

/** Files that are in memory. */
export function contentOfFiles(files: ReadonlyMap<string, Uint8Array>): BaseContent {
  return { where: 'the set of files', names: [...files.keys()], open: (name) => bytesInMemory(files.get(name)!) };
}
