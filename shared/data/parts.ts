/** Data sets within one source: which part every example is of, by a name that its row has, such as a language, a domain or a task. */
import { assert } from '../core/assert.ts';
import type { EncodedExample } from './encode.ts';
import type { ExampleSource } from './example-source.ts';

/** The parts of a source. */
export interface Parts {
  /** In order of first appearance. */
  readonly names: readonly string[];
  /** Place of its part's name for every example, `[count]`. */
  readonly of: Int32Array;
}

/** A source whose examples stand in parts. */
export interface PartedSource extends ExampleSource {
  readonly parts: Parts;
}

/** Remembers the parts of examples as they go by. */
export interface PartsInWork {
  /** The same examples, of the part of their row; rows without one are of no part. */
  tag(part: string | undefined, examples: readonly EncodedExample[]): readonly EncodedExample[];
  /** The source of all that went by, with its parts; as it is where no row had any. */
  label<Source extends ExampleSource>(source: Source): Source | (Source & PartedSource);
}

/** No example yet. */
export function createParts(): PartsInWork {
  const places = new Map<string, number>();
  const of: number[] = [];
  let isParted = false;
  return {
    tag: (part = '', examples) => {
      if (part !== '') isParted = true;
      if (!places.has(part) && examples.length > 0) places.set(part, places.size);
      for (const _ of examples) of.push(places.get(part)!);
      return examples;
    },
    label: (source) => {
      if (!isParted) return source;
      assert(of.length === source.count, `${of.length} examples went by, the source has ${source.count}`);
      return { ...source, parts: { names: [...places.keys()], of: Int32Array.from(of) } };
    },
  };
}

/** The parts of a source; null where it has none. */
export function partsOf(source: ExampleSource | PartedSource): Parts | null {
  return 'parts' in source ? source.parts : null;
}
