/**
 * Intents in 19 languages and dialects (van der Goot and others 2021 and later): files of sentences in CoNLL form, parallel across languages,
 * with comment lines for text, intent and, in Norwegian, dialect and number of the English sentence.
 */
import { FormatError } from '../../core/errors.ts';
import type { SplitSide } from '../split.ts';
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { drawOf, fileAt, groupBy, plainSpaces, withoutRepeats } from './texts.ts';

const languages = 'ar da de de-ba de-muc de-st en gsw id it ja kk lt nap nl no sr tr zh'.split(' ');
const parts = ['valid', 'test'] as const;
const pathOf = (language: string, part: (typeof parts)[number]): string => `data/xSID-0.7/${language}.${part}.conll`;

/** A label of one sentence, which cannot be split. */
const droppedLabel = 'alarm/modify_alarm';

/** The entry. */
export const xsid: CatalogueEntry = {
  name: 'xsid',
  title: 'Intents in 19 languages and dialects, with equal labels',
  task: 'classification',
  languages,
  columns: ['text', 'label', 'client', 'lang'],
  labelCount: 15,
  clients: 'language (Norwegian by dialect: 22 in all)',
  rowsAbout: 14_900,
  licence: {
    id: 'CC-BY-SA-4.0',
    url: 'https://creativecommons.org/licenses/by-sa/4.0/',
    note: 'what is made from it stays under this licence',
  },
  attribution:
    'van der Goot and others, NAACL 2021; Aepli and others, VarDial 2023 (Neapolitan, Swiss German); Winkler and others, LREC-COLING 2024 (Bavarian, Lithuanian); Krückl, Blaschke and others 2025 (Munich Bavarian); Mæhlum and others, VarDial 2024 (Norwegian); English sentences from Snips and from Schuster and others 2019',
  publication: {
    repository: 'mainlp/xsid',
    commit: '761d926c3f2e9f6bea13192d2f39cec1d04d9777',
    files: languages.flatMap((language) => parts.map((part) => ({ path: pathOf(language, part) }))),
  },
  made: `both published parts together, split by the English sentence within every label (60 % training, 10 % validation, 30 % test), so that all translations of a sentence are on one side; one speaker for each Norwegian dialect and sentence; the label ${droppedLabel} left out; repeated texts of a client kept once, texts on two sides on one`,
  conversion: 1,
  convert,
};

/** A sentence of one language with the place of its English original. */
interface Sentence {
  readonly row: CatalogueRow;
  readonly original: string;
}

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const sentences = languages.flatMap((language) =>
    parts.flatMap((part) => sentencesOf(fileAt(files, pathOf(language, part)), language, part)),
  );
  const english = sentences.filter(({ row }) => row.lang === 'en' && row.label !== droppedLabel);
  const sides = new Map<string, SplitSide>();
  for (const group of groupBy(english, ({ row }) => row.label!).values()) {
    const order = group.map((sentence) => ({ ...sentence, draw: drawOf('xsid', sentence.row.text) }));
    order.sort((left, right) => left.draw - right.draw || (left.original < right.original ? -1 : 1));
    const bounds = [Math.round(0.6 * order.length), Math.round(0.7 * order.length)] as const;
    for (const [place, { original }] of order.entries()) {
      sides.set(original, place < bounds[0] ? 'train' : place < bounds[1] ? 'validation' : 'test');
    }
  }
  const rows = { train: [] as CatalogueRow[], validation: [] as CatalogueRow[], test: [] as CatalogueRow[] };
  for (const { row, original } of sentences) {
    const side = sides.get(original);
    if (side !== undefined && row.label !== droppedLabel) rows[side].push(row);
  }
  return withoutRepeats(rows, { perClient: true });
}

function sentencesOf(conll: string, language: string, part: string): Sentence[] {
  const found: Sentence[] = [];
  const taken = new Set<string>();
  let place = 0;
  for (const block of conll.replaceAll('\r\n', '\n').split(/\n\s*\n/)) {
    if (block.trim() === '') continue;
    place++;
    const comment = (name: string): string | undefined =>
      new RegExp(`^# ${name} ?[=:] ?(.*)$`, 'm').exec(block)?.[1]?.trim();
    const [text, label, dialect] = [comment('text'), comment('intent'), comment('dialect')];
    if (text === undefined || label === undefined) {
      throw new FormatError(
        'bad-published-file',
        `${language}.${part}.conll: sentence ${place} lacks its text or its intent`,
      );
    }
    // "7/3" is translation 3 of sentence 7; other numbers begin anew in the middle of some files, but their order is that of the English ones.
    const number = /^(\d+)\//.exec(comment('id') ?? '')?.[1] ?? String(place);
    const client = dialect === undefined ? language : `${language}-${dialect}`;
    if (dialect !== undefined && taken.has(`${client} ${number}`)) continue;
    taken.add(`${client} ${number}`);
    found.push({ row: { text: plainSpaces(text), label, client, lang: language }, original: `${part} ${number}` });
  }
  return found;
}
