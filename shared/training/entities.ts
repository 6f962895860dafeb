/**
 * Entities of tag sequences as the evaluation script of CoNLL-2000 and 2003 (`conlleval`) and the package seqeval find them: for tags
 * `O`, `B-X`, `I-X`, and also `E-X` and `S-X`. An `I-X` that follows `O` or another type begins an entity.
 */
import type { CountsInWork } from './counts.ts';

/** An entity: its type, its first and its last word. */
export interface Entity {
  readonly type: string;
  readonly first: number;
  readonly last: number;
}

const tagForm = /^([BIES])-(.+)$/;

interface Tag {
  readonly prefix: string;
  readonly type: string;
}

const outside: Tag = { prefix: 'O', type: '' };

/** `O`, and whatever has no known form, is outside of entities. */
function parseTag(tag: string): Tag {
  const found = tagForm.exec(tag);
  return found === null ? outside : { prefix: found[1]!, type: found[2]! };
}

/** Types of the entities that `tags` can spell, in the order of their code units; none where no tag has the form `B-X`. */
export function entityTypesOf(tags: readonly string[]): string[] {
  const types = tags.map((tag) => parseTag(tag).type).filter((type) => type !== '');
  return [...new Set(types)].sort();
}

/** `endOfChunk` of conlleval: whether an entity ends between two tags. */
function endsBetween(before: Tag, after: Tag): boolean {
  if (before.prefix === 'O') return false;
  if (before.prefix === 'E' || before.prefix === 'S') return true;
  return after.prefix === 'O' || after.prefix === 'B' || after.prefix === 'S' || before.type !== after.type;
}

/** `startOfChunk` of conlleval: whether an entity begins with the second of two tags. */
function beginsBetween(before: Tag, after: Tag): boolean {
  if (after.prefix === 'O') return false;
  if (after.prefix === 'B' || after.prefix === 'S') return true;
  return before.prefix === 'O' || before.prefix === 'E' || before.prefix === 'S' || before.type !== after.type;
}

/** The entities of one sequence, in their order. */
export function entitiesOf(tags: readonly string[]): Entity[] {
  const entities: Entity[] = [];
  let before = outside;
  let first = 0;
  for (const [index, tag] of [...tags.map(parseTag), outside].entries()) {
    if (endsBetween(before, tag)) entities.push({ type: before.type, first, last: index - 1 });
    if (beginsBetween(before, tag)) first = index;
    before = tag;
  }
  return entities;
}

/** Adds the entities of one sequence to `counts.entities`, whose entries stand for `types`. Mutates `counts`. */
export function countEntities(
  counts: CountsInWork,
  types: readonly string[],
  { truth, predicted }: { readonly truth: readonly string[]; readonly predicted: readonly string[] },
): void {
  const keyOf = ({ type, first, last }: Entity) => `${first} ${last} ${type}`;
  const real = entitiesOf(truth);
  const known = new Set(real.map(keyOf));
  for (const { type } of real) counts.entities.truth[types.indexOf(type)]!++;
  for (const entity of entitiesOf(predicted)) {
    const index = types.indexOf(entity.type);
    counts.entities.predicted[index]!++;
    if (known.has(keyOf(entity))) counts.entities.correct[index]!++;
  }
}
