/** Speeches of Shakespeare's characters: a text in which every speech is a paragraph that begins with the speaker's name and a colon. */
import { FormatError } from '../../core/errors.ts';
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { fileAt, groupBy, withoutRepeats } from './texts.ts';

const input = 'data/tinyshakespeare/input.txt';
/** Characters of the shortest speech that says something. */
const charactersMin = 20;
/** Speeches that a character must have to be a client. */
const speechesMin = 8;

/** The entry. */
export const shakespeare: CatalogueEntry = {
  name: 'shakespeare',
  title: 'Speeches by character, of very different number',
  task: 'causal',
  languages: ['en'],
  columns: ['text', 'client', 'lang'],
  labelCount: null,
  clients: 'speaking character (about 150)',
  rowsAbout: 5_200,
  licence: {
    id: 'public domain',
    url: 'https://github.com/karpathy/char-rnn/blob/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/Readme.md',
    note: 'the repository of the extract is under the MIT licence',
  },
  attribution: 'William Shakespeare; extract by A. Karpathy',
  publication: {
    repository: 'karpathy/char-rnn',
    commit: '6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e',
    files: [{ path: input }],
  },
  made: `speeches of at least ${charactersMin} characters by characters who have at least ${speechesMin}, line breaks kept; the first two thirds of a character's speeches are for training, the next twelfth for validation; repeated texts kept once`,
  conversion: 1,
  convert,
};

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const speeches = fileAt(files, input)
    .replaceAll('\r\n', '\n')
    .split(/\n{2,}/)
    .flatMap(speechOf);
  if (speeches.length === 0) throw new FormatError('bad-published-file', `${input}: expected speeches, found none`);
  const rows = { train: [] as CatalogueRow[], validation: [] as CatalogueRow[], test: [] as CatalogueRow[] };
  for (const own of groupBy(speeches, ({ client }) => client!).values()) {
    if (own.length < speechesMin) continue;
    const [second, third] = [Math.round((2 / 3) * own.length), Math.round((3 / 4) * own.length)];
    rows.train.push(...own.slice(0, second));
    rows.validation.push(...own.slice(second, third));
    rows.test.push(...own.slice(third));
  }
  return withoutRepeats(rows);
}

function speechOf(paragraph: string): CatalogueRow[] {
  const [, name, speech] = /^\s*([A-Z][^:\n]*):\n([\s\S]*)$/.exec(paragraph) ?? [];
  if (name === undefined || speech === undefined) return [];
  const lines = speech.split('\n').map((line) => line.trim());
  const text = lines.join('\n').trim();
  const client = name.toLowerCase().replace(/(^|\s)\S/g, (letter) => letter.toUpperCase());
  return text.length < charactersMin ? [] : [{ text, client, lang: 'en' }];
}
