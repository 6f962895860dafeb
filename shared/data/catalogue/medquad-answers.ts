/** Whole answers of MedQuAD as plain text: what a base model may read before an adapter learns the roles of passages (`medquad`). */
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { answersOf, medquad, sideOfDisease } from './medquad.ts';
import { drawOf, groupBy, textKey, withoutRepeats } from './texts.ts';

/** Characters of the shortest answer that says something. */
const charactersMin = 40;

/** The entry. */
export const medquadAnswers: CatalogueEntry = {
  ...medquad,
  name: 'medquad-answers',
  title: 'Whole answers about the diseases on which medquad trains',
  task: 'causal',
  columns: ['text', 'client', 'lang'],
  labelCount: null,
  rowsAbout: 8_500,
  made: `answers of at least ${charactersMin} characters about the diseases that medquad has for training, without those that hold one of its validation or test passages; 4 % for validation, none for a test; repeated texts kept once`,
  conversion: 1,
  convert,
};

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const { validation, test } = medquad.convert(files);
  const holdsHeldOut = finderOf([...validation, ...test].map(({ text }) => textKey(text)));
  const rows = { train: [] as CatalogueRow[], validation: [] as CatalogueRow[], test: [] as CatalogueRow[] };
  for (const path of [...files.keys()].sort()) {
    for (const { body: text, client, disease } of answersOf(files.get(path)!, path)) {
      if (text.length < charactersMin || sideOfDisease(disease) !== 'train' || holdsHeldOut(textKey(text))) continue;
      const side = drawOf('medquad-answers', text) < 0.04 ? 'validation' : 'train';
      rows[side].push({ text, client, lang: 'en' });
    }
  }
  return withoutRepeats(rows);
}

/** Whether a text contains one of `keys`: found by their beginnings, so that the cost does not grow with their number. */
function finderOf(keys: readonly string[]): (text: string) => boolean {
  const length = Math.min(20, ...keys.map((key) => key.length));
  const byBeginning = groupBy(keys, (key) => key.slice(0, length));
  return (text) => {
    for (let at = 0; at + length <= text.length; at++) {
      const found = byBeginning.get(text.slice(at, at + length));
      if (found?.some((key) => text.startsWith(key, at)) === true) return true;
    }
    return false;
  };
}
