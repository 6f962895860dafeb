/** Fixtures of reference libraries: files, and descriptions of their bases. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../../../../shared/core/bytes.ts';
import type { BaseDescription } from '../../../../shared/model/base-model.ts';
import { describeFiles } from '../../../../shared/model/load.ts';
import { readSafetensors } from '../../../../shared/model/safetensors.ts';
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

/** Metadata, names, types, shapes and bytes of a file, in the order of the bytes: all but the white space of its header. */
export function contentOf(bytes: Uint8Array): unknown {
  const { metadata, tensors } = readSafetensors(bytes, 'a file');
  return [metadata, ...[...tensors].map(([name, entry]) => [name, entry.dtype, entry.shape, toHex(entry.bytes)])];
}

/** A JSON document. */
export function parsed(bytes: Uint8Array): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
}
