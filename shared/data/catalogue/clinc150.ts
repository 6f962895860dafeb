/** Intents of ten domains and out-of-scope questions (Larson and others 2019): lists of `[text, intent]`, and the intents of every domain. */
import { z } from 'zod';
import { errorMessage, FormatError } from '../../core/errors.ts';
import type { CatalogueEntry, CatalogueRow, CatalogueRows } from './entry.ts';
import { fileAt, plainSpaces, withoutRepeats } from './texts.ts';

const [data, domains] = ['data/data_full.json', 'data/domains.json'];

const listSchema = z.array(z.tuple([z.string(), z.string()]));
const dataSchema = z.object({
  train: listSchema,
  val: listSchema,
  test: listSchema,
  oos_train: listSchema,
  oos_val: listSchema,
  oos_test: listSchema,
});
const domainsSchema = z.record(z.string(), z.array(z.string()));

/** The entry. */
export const clinc150: CatalogueEntry = {
  name: 'clinc150',
  title: 'Intents of ten domains, and questions out of scope',
  task: 'classification',
  languages: ['en'],
  columns: ['text', 'label', 'client', 'lang'],
  labelCount: 151,
  clients: 'domain (ten, and out_of_scope)',
  rowsAbout: 23_500,
  licence: { id: 'CC-BY-3.0', url: 'https://creativecommons.org/licenses/by/3.0/' },
  attribution:
    'Larson and others, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction", EMNLP 2019',
  publication: {
    repository: 'clinc/oos-eval',
    commit: '828f8093932c8fe6ca7936c3d2e52903b1c523de',
    files: [{ path: data }, { path: domains }],
  },
  made: 'the published sides, each with its out-of-scope questions (label oos); the client is the domain; white space made plain; repeated texts kept once',
  conversion: 1,
  convert,
};

function convert(files: ReadonlyMap<string, string>): CatalogueRows {
  const lists = parseFile(dataSchema, fileAt(files, data), data);
  const domainOf = new Map<string, string>([['oos', 'out_of_scope']]);
  for (const [domain, intents] of Object.entries(parseFile(domainsSchema, fileAt(files, domains), domains))) {
    for (const intent of intents) domainOf.set(intent, domain);
  }
  const rows = (list: z.output<typeof listSchema>): CatalogueRow[] =>
    list.map(([text, label]) => {
      const client = domainOf.get(label);
      if (client === undefined) {
        throw new FormatError('bad-published-file', `${domains}: no domain has the intent "${label}"`);
      }
      return { text: plainSpaces(text), label, client, lang: 'en' };
    });
  return withoutRepeats({
    train: rows([...lists.train, ...lists.oos_train]),
    validation: rows([...lists.val, ...lists.oos_val]),
    test: rows([...lists.test, ...lists.oos_test]),
  });
}

function parseFile<Schema extends z.ZodType>(schema: Schema, text: string, path: string): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FormatError('bad-published-file', `${path}: is not what was published: ${errorMessage(cause)}`, {
      cause,
    });
  }
}
