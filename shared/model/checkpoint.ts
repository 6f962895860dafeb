/**
 * Matches the tensors of a checkpoint with those that a family needs: every one present with its shape and a float type, none left over but
 * those that are known not to matter. One tensor has had many names: with or without the prefix of models with a head (`bert.`,
 * `transformer.`), inside wrappers (`module.`), with TensorFlow's words for gain and bias. All are understood, and no two may mean the same.
 */
import { FormatError } from '../core/errors.ts';
import type { StoredTensor } from './safetensors-header.ts';

/** A tensor that a family reads. */
export interface TensorNeed {
  /** Name without prefix. */
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * Tensors of one group are there all together or not at all: a language-model head, which bare models lack. Absent means required.
   */
  readonly optionalGroup?: string;
  /** Whether it is a matrix `[out, in]` of a map that computes with `[in, out]`. Absent means no. */
  readonly isTransposed?: boolean;
}

/** What a family says about its checkpoints. */
export interface CheckpointSpecification {
  /** `bert.`: the prefix that names have in files of models with a head; files may lack it. */
  readonly prefix: string;
  readonly needs: readonly TensorNeed[];
  /** Names (without prefix) that may be there and are not read. */
  readonly ignorable: RegExp;
  /** Older spelling of a name, or the name itself. */
  readonly currentName?: (name: string) => string;
}

/** The tensors of a checkpoint by name without prefix; those of absent groups are missing. */
export type CheckpointTensors = ReadonlyMap<string, StoredTensor>;

/** Prefixes that training tools leave around a whole model: data-parallel wrappers, compilers, and models with a head of their own. */
const wrappers = ['module.', '_orig_mod.', 'model.'];

const namesShown = 6;

/**
 * Checks tensors against a specification.
 * @param source where they are from, for messages.
 * @throws FormatError `bad-checkpoint` that lists missing, surplus, doubly named, wrongly shaped and wrongly typed tensors.
 */
export function matchCheckpoint(
  stored: ReadonlyMap<string, StoredTensor>,
  specification: CheckpointSpecification,
  source: string,
): CheckpointTensors {
  const { needs, ignorable } = specification;
  const needed = new Map(needs.map((need) => [need.name, need]));
  const tensors = new Map<string, StoredTensor>();
  const problems: string[] = [];
  const surplus: string[] = [];
  for (const [fullName, tensor] of stored) {
    const names = readingsOf(fullName, specification);
    const name = names.find((candidate) => needed.has(candidate));
    if (name === undefined) {
      if (!names.some((candidate) => ignorable.test(candidate))) surplus.push(fullName);
    } else if (tensors.has(name)) problems.push(`${name} stands there twice, the second time as ${fullName}`);
    else {
      tensors.set(name, tensor);
      problems.push(...misfitsOf(fullName, tensor, needed.get(name)!));
    }
  }
  const presentGroups = new Set(
    needs.flatMap(({ name, optionalGroup }) =>
      optionalGroup !== undefined && tensors.has(name) ? [optionalGroup] : [],
    ),
  );
  const missing = needs.filter(
    ({ name, optionalGroup }) =>
      !tensors.has(name) && (optionalGroup === undefined || presentGroups.has(optionalGroup)),
  );
  if (missing.length > 0) problems.unshift(`missing ${listOf(missing.map(({ name }) => name))}`);
  if (surplus.length > 0) problems.push(`surplus ${listOf(surplus)}`);
  if (problems.length > 0) {
    throw new FormatError(
      'bad-checkpoint',
      `${source} does not fit config.json: ${problems.slice(0, namesShown).join('; ')}`,
      {
        context: { source, problems: problems.length },
      },
    );
  }
  return tensors;
}

/** Shapes as the base computes with them, of the tensors that are there. */
export function computedShapes(
  { needs }: CheckpointSpecification,
  tensors: CheckpointTensors,
): ReadonlyMap<string, readonly number[]> {
  const present = needs.filter(({ name }) => tensors.has(name));
  return new Map(present.map(({ name, shape, isTransposed }) => [name, isTransposed ? shape.toReversed() : shape]));
}

/** What a name may mean, the most literal first. */
function readingsOf(fullName: string, { prefix, currentName = (name) => name }: CheckpointSpecification): string[] {
  const readings: string[] = [];
  for (let name: string | undefined = fullName; name !== undefined; ) {
    const current = currentName(name);
    readings.push(current, current.replace(/(^|\.)gamma$/, '$1weight').replace(/(^|\.)beta$/, '$1bias'));
    const outer: string | undefined = [prefix, ...wrappers].find((start) => start !== '' && name!.startsWith(start));
    name = outer === undefined ? undefined : name.slice(outer.length);
  }
  return readings;
}

function misfitsOf(fullName: string, { dtype, shape }: StoredTensor, need: TensorNeed): string[] {
  const problems: string[] = [];
  if (shape.length !== need.shape.length || shape.some((extent, axis) => extent !== need.shape[axis]))
    problems.push(`${fullName} has the shape [${shape.join(', ')}], expected [${need.shape.join(', ')}]`);
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
    problems.push(`${fullName} has the type ${dtype}, expected F32, F16 or BF16`);
  return problems;
}

function listOf(names: readonly string[]): string {
  const rest = names.length - namesShown;
  return names.slice(0, namesShown).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
