/** Between the tensors of another library's file and ours: names, orientation, and blocks that the file stacks into one tensor. */
import { assert } from '../../core/assert.ts';
import { FormatError } from '../../core/errors.ts';
import { type SafetensorsEntry, tensorValues } from '../../model/safetensors.ts';
import { transpose } from './matrices.ts';

/** One tensor of a foreign file and where its values live in ours. */
export interface TensorMapping {
  /** Name in the file. */
  readonly name: string;
  /** Shape in the file. */
  readonly shape: readonly number[];
  /** Our tensors, which the file stacks along its first axis in equal blocks. */
  readonly parts: readonly string[];
  /** Whether ours are the transposed blocks. */
  readonly transposed: boolean;
  /** The parts stand side by side, in a matrix of so many rows; absent means one after the other. */
  readonly rows?: number;
  /** Whether the file says here once more what another of its tensors says; reading takes the other. */
  readonly isCopy?: boolean;
}

/** A tensor with its values in row-major order. */
export interface ForeignTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

const namesShown = 6;

function listOf(names: readonly string[]): string {
  const rest = names.length - namesShown;
  return names.slice(0, namesShown).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/**
 * Refuses a file that does not hold exactly the tensors of `mappings`.
 * @throws FormatError `bad-adapter-folder` that names `source` and the missing, surplus, wrongly shaped and wrongly typed tensors.
 */
export function checkForeignTensors(
  mappings: readonly TensorMapping[],
  tensors: ReadonlyMap<string, Pick<SafetensorsEntry, 'dtype' | 'shape'>>,
  source: string,
): void {
  const needed = new Map(mappings.map((mapping) => [mapping.name, mapping]));
  const missing = [...needed.keys()].filter((name) => !tensors.has(name));
  const surplus = [...tensors.keys()].filter((name) => !needed.has(name));
  const problems: string[] = [];
  if (missing.length > 0) problems.push(`missing ${listOf(missing)}`);
  if (surplus.length > 0) problems.push(`surplus ${listOf(surplus)}`);
  for (const [name, { dtype, shape }] of tensors) {
    const mapping = needed.get(name);
    if (mapping === undefined) continue;
    if (shape.join() !== mapping.shape.join())
      problems.push(`${name} has the shape [${shape.join(', ')}], expected [${mapping.shape.join(', ')}]`);
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
      problems.push(`${name} has the type ${dtype}, expected F32, F16 or BF16`);
  }
  if (problems.length === 0) return;
  throw new FormatError(
    'bad-adapter-folder',
    `${source} does not fit its configuration and the base: ${problems.slice(0, namesShown).join('; ')}`,
    { context: { source, problems: problems.length } },
  );
}

/** Our tensors by name from those of a checked file. */
export function toOurs(
  mappings: readonly TensorMapping[],
  tensors: ReadonlyMap<string, SafetensorsEntry>,
): Map<string, Float32Array> {
  const ours = new Map<string, Float32Array>();
  for (const { name, shape, parts, transposed, rows, isCopy = false } of mappings) {
    if (isCopy) continue;
    const stored = tensorValues(tensors.get(name)!);
    const values = rows === undefined ? stored : regroup(stored, rows, parts.length);
    const size = values.length / parts.length;
    for (const [index, part] of parts.entries()) {
      assert(!ours.has(part), `${part} is given twice, the second time by ${name}`);
      const block = values.slice(index * size, (index + 1) * size);
      ours.set(part, transposed ? transpose(block, shape[0]! / parts.length) : block);
    }
  }
  return ours;
}

/** The tensors of a file, by name in code-unit order as the format's own writer has them, from ours. */
export function toForeign(
  mappings: readonly TensorMapping[],
  ours: ReadonlyMap<string, Float32Array>,
): Map<string, ForeignTensor> {
  const sorted = [...mappings].sort((left, right) => (left.name < right.name ? -1 : 1));
  return new Map(
    sorted.map((mapping) => [mapping.name, { shape: mapping.shape, values: foreignValues(mapping, ours) }]),
  );
}

/** Values of one tensor of a file, row-major in its shape, from ours. */
export function foreignValues(
  { name, shape, parts, transposed, rows }: TensorMapping,
  ours: ReadonlyMap<string, Float32Array>,
): Float32Array {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const whole = new Float32Array(size);
  for (const [index, part] of parts.entries()) {
    const values = ours.get(part);
    assert(values?.length === size / parts.length, `${name} needs ${size / parts.length} values of ${part}`);
    whole.set(transposed ? transpose(values, shape[1]!) : values, (index * size) / parts.length);
  }
  return rows === undefined ? whole : regroup(whole, parts.length, rows);
}

/** `[outer, inner, width]` as `[inner, outer, width]`. */
function regroup(values: Float32Array, outer: number, inner: number): Float32Array {
  const width = values.length / outer / inner;
  const result = new Float32Array(values.length);
  for (let place = 0; place < outer; place++) {
    for (let within = 0; within < inner; within++) {
      const start = (place * inner + within) * width;
      result.set(values.subarray(start, start + width), (within * outer + place) * width);
    }
  }
  return result;
}
