/**
 * Matches the tensors of a file with those that a family needs: every one present with its shape and a float type, none left over but those
 * that are known not to matter. Names are compared without the prefix that bare models lack (`bert.`, `transformer.`).
 */
import { FormatError } from '../core/errors.ts';
import type { SafetensorsEntry, SafetensorsFile } from './safetensors.ts';

/** A tensor that a family reads. */
export interface TensorNeed {
  /** Name without prefix. */
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * Tensors of one group are there all together or not at all: a language-model head, which bare models lack. Absent means required.
   */
  readonly optionalGroup?: string;
}

/** What a family says about its checkpoints. */
export interface CheckpointSpecification {
  /** `bert.`: the prefix that names have in files of models with a head. */
  readonly prefix: string;
  readonly needs: readonly TensorNeed[];
  /** Names (without prefix) that may be there and are not read. */
  readonly ignorable: RegExp;
  /** Older spelling of a name, or the name itself. */
  readonly currentName?: (name: string) => string;
}

/** The tensors of a checkpoint by name without prefix; those of absent groups are missing. */
export type CheckpointTensors = ReadonlyMap<string, SafetensorsEntry>;

const namesShown = 6;

/**
 * Checks a file against a specification.
 * @throws FormatError `bad-checkpoint` that lists missing, surplus, doubly named, wrongly shaped and wrongly typed tensors.
 */
export function matchCheckpoint(
  file: SafetensorsFile,
  { prefix, needs, ignorable, currentName = (name) => name }: CheckpointSpecification,
  source: string,
): CheckpointTensors {
  const needed = new Map(needs.map((need) => [need.name, need]));
  const tensors = new Map<string, SafetensorsEntry>();
  const problems: string[] = [];
  const surplus: string[] = [];
  for (const [fullName, entry] of file.tensors) {
    const name = currentName(fullName.startsWith(prefix) ? fullName.slice(prefix.length) : fullName);
    const need = needed.get(name);
    if (need === undefined) {
      if (!ignorable.test(name)) surplus.push(fullName);
    } else if (tensors.has(name)) problems.push(`${name} stands there twice, the second time as ${fullName}`);
    else {
      tensors.set(name, entry);
      problems.push(...misfitsOf(fullName, entry, need));
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

function misfitsOf(fullName: string, { dtype, shape }: SafetensorsEntry, need: TensorNeed): string[] {
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
