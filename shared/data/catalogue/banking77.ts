/** Banking intents (Casanueva and others 2020): two CSV files with the columns `text` and `category`. */
import { parse } from 'csv-parse/sync';
import { errorMessage, FormatError } from '../../core/errors.ts';
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { drawOf, fileAt, groupBy, plainSpaces, withoutRepeats } from './texts.ts';

const [train, test] = ['banking_data/train.csv', 'banking_data/test.csv'];

/** The entry. */
export const banking77: CatalogueEntry = {
  name: 'banking77',
  title: 'Banking intents: questions of bank customers',
  task: 'classification',
  languages: ['en'],
  columns: ['text', 'label', 'lang'],
  labelCount: 77,
  clients: null,
  rowsAbout: 13_000,
  licence: { id: 'CC-BY-4.0', url: 'https://creativecommons.org/licenses/by/4.0/' },
  attribution:
    'PolyAI Limited; Casanueva, Temčinas, Gerz, Henderson, Vulić, "Efficient Intent Detection with Dual Sentence Encoders", 2020',
  publication: {
    repository: 'PolyAI-LDN/task-specific-datasets',
    commit: '57ec275d8078af65b7731c2a98be812d844a6d6b',
    files: [{ path: train }, { path: test }],
  },
  made: 'the published test set is the test set; a tenth of every label of the published training set is for validation; white space made plain; repeated texts kept once',
  conversion: 1,
  convert,
};

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const published = {
    train: rowsOf(fileAt(files, train), train),
    validation: [],
    test: rowsOf(fileAt(files, test), test),
  };
  const { train: all, test: kept } = withoutRepeats(published);
  const validation = new Set<CatalogueRow>();
  for (const rows of groupBy(all, ({ label }) => label!).values()) {
    const order = rows.map((row) => ({ row, draw: drawOf('banking77', row.text) }));
    order.sort((left, right) => left.draw - right.draw);
    for (const { row } of order.slice(0, Math.round(rows.length / 10))) validation.add(row);
  }
  return {
    train: all.filter((row) => !validation.has(row)),
    validation: all.filter((row) => validation.has(row)),
    test: kept,
  };
}

function rowsOf(text: string, path: string): CatalogueRow[] {
  let records: readonly (readonly string[])[];
  try {
    records = parse(text, { bom: true, skip_empty_lines: true });
  } catch (cause) {
    throw new FormatError('bad-published-file', `${path}: broken CSV: ${errorMessage(cause)}`, { cause });
  }
  const [header, ...rows] = records;
  if (header?.join() !== 'text,category') {
    throw new FormatError('bad-published-file', `${path}: expected the columns text and category`);
  }
  return rows.map(([text = '', label = '']) => ({ text: plainSpaces(text), label, lang: 'en' }));
}
