/**
 * Roles of passages in answers about health (Ben Abacha and Demner-Fushman 2019): XML files of question and answer pairs, one for every topic of
 * nine sites of the National Institutes of Health and the CDC.
 */
import { FormatError } from '../../core/errors.ts';
import type { SplitSide } from '../split.ts';
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { drawOf, groupBy, plainSpaces, textKey, withoutRepeats } from './texts.ts';

/** Passages of one answer, and words of one passage. */
const [passagesMax, wordsMax, wordsMin] = [3, 60, 8];
/** Passages of one site with one label. */
const passagesPerSiteMax = 1500;
/** Passages that a label must have. */
const passagesPerLabelMin = 200;
/** Where lists that every answer of a site has begin: signs from a database, addresses of further pages. */
const boilerplate = [
  /The Human Phenotype Ontology provides the following list/,
  /These resources (?:from MedlinePlus offer|address|provide)/,
  /(?:^|\s)Key Points(?=\s)/,
];

/** The entry. */
export const medquad: CatalogueEntry = {
  name: 'medquad',
  title: 'What a passage about a disease tells: symptoms, causes, treatment …',
  task: 'classification',
  languages: ['en'],
  columns: ['text', 'label', 'client', 'lang'],
  labelCount: 14,
  clients: 'site that published the answer (nine)',
  rowsAbout: 24_000,
  licence: {
    id: 'CC-BY-4.0',
    url: 'https://creativecommons.org/licenses/by/4.0/',
    note: 'not medical advice; the text dates from about 2017',
  },
  attribution:
    'Ben Abacha and Demner-Fushman, "A Question-Entailment Approach to Question Answering", BMC Bioinformatics 2019; answers from web sites of the US National Institutes of Health and of the CDC',
  publication: {
    repository: 'abachaa/MedQuAD',
    commit: '577bd37b96c02d1833b2c9eed2de9f96964e96cb',
    files: [],
    archive: { folders: /^[1-9]_[^/]+\//, ending: '.xml' },
  },
  made: `up to ${passagesMax} passages of whole sentences, at most ${wordsMax} words each, from the beginning of every answer; the label is the type of the question; headings that repeat the question and lists of links left out; at most ${passagesPerSiteMax} passages of a site and label; labels of fewer than ${passagesPerLabelMin} passages left out; all passages about one disease are on one side; repeated texts kept once`,
  conversion: 1,
  convert,
};

/** A passage and what it is about. */
export interface Passage {
  readonly row: CatalogueRow;
  readonly disease: string;
}

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const paths = [...files.keys()].sort();
  const passages = unrepeated(paths.flatMap((path) => passagesOf(files.get(path)!, path)));
  const limited = [...groupBy(passages, ({ row }) => `${row.client}\n${row.label}`).values()].flatMap((group) => {
    if (group.length <= passagesPerSiteMax) return group;
    const order = group.map((passage) => ({ passage, draw: drawOf('medquad', passage.row.text) }));
    order.sort((left, right) => left.draw - right.draw);
    return order.slice(0, passagesPerSiteMax).map(({ passage }) => passage);
  });
  const rows = { train: [] as CatalogueRow[], validation: [] as CatalogueRow[], test: [] as CatalogueRow[] };
  for (const group of groupBy(limited, ({ row }) => row.label!).values()) {
    if (group.length < passagesPerLabelMin) continue;
    for (const { row, disease } of group) rows[sideOfDisease(disease)].push(row);
  }
  return withoutRepeats(rows);
}

/** The side on which all passages about a disease stand. */
export function sideOfDisease(disease: string): SplitSide {
  const draw = drawOf('medquad disease', disease);
  return draw < 0.3 ? 'test' : draw < 0.38 ? 'validation' : 'train';
}

/** The first of passages with the same text, so that limits count what is kept. */
function unrepeated(passages: readonly Passage[]): Passage[] {
  const seen = new Set<string>();
  return passages.filter(({ row }) => {
    const key = textKey(row.text);
    return key !== '' && !seen.has(key) && seen.add(key);
  });
}

/** The passages of one file. @throws FormatError when it is no document of the collection. */
export function passagesOf(xml: string, path: string): Passage[] {
  return answersOf(xml, path).flatMap(({ label, client, disease, body }) =>
    cutPassages(body).map((text): Passage => ({ row: { text, label, client, lang: 'en' }, disease })),
  );
}

/** An answer without headings and lists of links. */
export interface MedicalAnswer {
  /** Type of the question. */
  readonly label: string;
  /** Site that published it. */
  readonly client: string;
  readonly disease: string;
  readonly body: string;
}

/** The answers of one file. @throws FormatError when it is no document of the collection. */
export function answersOf(xml: string, path: string): MedicalAnswer[] {
  const client = /<Document\b[^>]*\bsource="([^"]*)"/.exec(xml)?.[1];
  const focus = /<Focus>([\s\S]*?)<\/Focus>/.exec(xml)?.[1];
  if (client === undefined || focus === undefined) {
    throw new FormatError('bad-published-file', `${path}: expected a document with a source and a focus`);
  }
  const pairs = xml.matchAll(
    /<Question\b[^>]*\bqtype="([^"]*)"[^>]*>([\s\S]*?)<\/Question>\s*<Answer>([\s\S]*?)<\/Answer>/g,
  );
  return [...pairs].map(([, type, question, answer]) => ({
    label: plainText(type!).toLowerCase(),
    client: plainCharacters(client),
    disease: plainText(focus),
    body: bodyOf(plainText(answer!), plainText(question!)),
  }));
}

/** The answer without a heading that repeats the question, and up to where boilerplate begins. */
function bodyOf(answer: string, question: string): string {
  const starts = boilerplate.map((pattern) => answer.search(pattern)).filter((start) => start >= 0);
  const body = answer.slice(0, Math.min(...starts, answer.length)).trim();
  const heading = /^[^.?!]*\?/.exec(body)?.[0];
  return heading !== undefined && textKey(heading) === textKey(question) ? body.slice(heading.length).trim() : body;
}

/** Whole sentences, as many as fit each passage; a longer sentence is cut. */
function cutPassages(body: string): string[] {
  const passages: string[][] = [];
  let current: string[] = [];
  for (const sentence of body.split(/(?<=[.!?]["')\]]?)\s+(?=["'(]?[\p{Lu}\p{N}])/u)) {
    const words = sentence.split(' ').filter((word) => word !== '');
    if (current.length > 0 && current.length + words.length > wordsMax) {
      passages.push(current);
      current = [];
      if (passages.length === passagesMax) break;
    }
    current.push(...words.slice(0, wordsMax));
  }
  if (current.length > 0 && passages.length < passagesMax) passages.push(current);
  return passages.filter(({ length }) => length >= wordsMin).map((words) => words.join(' '));
}

function plainText(xml: string): string {
  return plainSpaces(plainCharacters(xml));
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function plainCharacters(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return entities[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
