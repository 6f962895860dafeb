/** Fixtures of reference libraries: files, and descriptions of their bases. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../../../../shared/core/bytes.ts';
import type { BaseDescription } from '../../../../shared/model/base-model.ts';
import { describeFiles } from '../../../../shared/model/load.ts';
import { readSafetensors, tensorValues } from '../../../../shared/model/safetensors.ts';
import { completeCheckpoint } from '../../../parity/complete-checkpoint.ts';

const folder = join(import.meta.dirname, '../../../parity/fixtures');

/** Bytes of one file. */
export function fixture(...path: readonly string[]): Uint8Array {
  return readFileSync(join(folder, ...path));
}

/** The base of a folder of fixtures, with the biases that the fixtures lack. */
export function fixtureBase(name: string): BaseDescription {
  return describeFiles(
    new Map([
      ['config.json', fixture(name, 'config.json')],
      ['model.safetensors', completeCheckpoint(fixture(name, 'model.safetensors'))],
    ]),
  );
}

/** Values of tensors of a base by their names in the bare model. */
export function fixtureTensor(name: string): (tensor: string) => Float32Array {
  const { tensors } = readSafetensors(completeCheckpoint(fixture(name, 'model.safetensors')), name);
  return (wanted) => {
    const found = [...tensors].find(([own]) => own === wanted || own.endsWith(`.${wanted}`));
    if (found === undefined) throw new Error(`the base has no ${wanted}`);
    return tensorValues(found[1]);
  };
}

/** Metadata, names, types, shapes and bytes of a file, in the order of the bytes: all but the white space of its header. */
export function contentOf(bytes: Uint8Array): unknown {
  const { metadata, tensors } = readSafetensors(bytes, 'a file');
  return [metadata, ...[...tensors].map(([name, entry]) => [name, entry.dtype, entry.shape, toHex(entry.bytes)])];
}

/** A JSON document. */
export function parsed(bytes: Uint8Array): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
}

/** Writes the base of a folder of fixtures as a checkpoint folder. */
export function writeFixtureBase(name: string, folder: string): void {
  writeFileSync(join(folder, 'config.json'), fixture(name, 'config.json'));
  writeFileSync(join(folder, 'model.safetensors'), completeCheckpoint(fixture(name, 'model.safetensors')));
}
