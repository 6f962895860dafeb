/** What the conversions share: white space, sameness of texts, and splits that depend on nothing but the texts. */
import { FormatError } from '../../core/errors.ts';
import { seededRandom } from '../../core/random.ts';
import type { SplitSide } from '../split.ts';
import type { CatalogueRow, CatalogueRows } from './entry.ts';

/** The file at `path`. @throws FormatError `missing-file` */
export function fileAt(files: ReadonlyMap<string, string>, path: string): string {
  const text = files.get(path);
  if (text === undefined) throw new FormatError('missing-file', `the published set has no file ${path}`);
  return text;
}

/** One blank in place of every run of white space, none at the ends. */
export function plainSpaces(text: string): string {
  return text.replace(/\s+/gu, ' ').trim();
}

/** Texts with the same key are the same text: compatibility forms, case, and all but letters and digits do not count. */
export function textKey(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
}

/** A number in [0, 1) that depends on a set and a text alone. */
export function drawOf(set: string, text: string): number {
  return seededRandom(1, 'catalogue', set).fork(textKey(text)).uniform();
}

/** Groups in the order in which their names come first. */
export function groupBy<Item>(items: Iterable<Item>, nameOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(nameOf(item));
    if (group === undefined) groups.set(nameOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** In which order sides keep a text that several have: the test set stays as it was published. */
const keepers: readonly SplitSide[] = ['test', 'validation', 'train'];

/** Leaves out rows without a letter or digit, and those whose text was there before: on another side, or on the same (with `perClient`: of the same client). */
export function withoutRepeats(rows: CatalogueRows, { perClient = false } = {}): CatalogueRows {
  const sideOf = new Map<string, SplitSide>();
  const seen = new Set<string>();
  const kept = { train: [] as CatalogueRow[], validation: [] as CatalogueRow[], test: [] as CatalogueRow[] };
  for (const side of keepers) {
    for (const row of rows[side]) {
      const key = textKey(row.text);
      const ownKey = perClient ? `${row.client}\n${key}` : key;
      if (key === '' || seen.has(ownKey) || (sideOf.get(key) ?? side) !== side) continue;
      seen.add(ownKey);
      sideOf.set(key, side);
      kept[side].push(row);
    }
  }
  return kept;
}
