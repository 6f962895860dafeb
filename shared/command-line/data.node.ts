/** `tributary data list|get|split`: the data sets of the catalogue, their terms, and how far what is fetched can be checked. */
import { resolve } from 'node:path';
import process from 'node:process';
import type { Command } from 'commander';
import { UsageError } from '../core/errors.ts';
import { catalogue, entryOf, verificationOf } from '../data/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../data/catalogue/entry.ts';
import { type DataSetRecord, type GetResult, getDataSet } from '../data/catalogue/get.node.ts';
import { splitSides } from '../data/split.ts';
import type { CommandContext } from './context.ts';
import { registerSplit } from './data-split.node.ts';
import type { Progress } from './progress.ts';
import { formatTable } from './table.ts';

interface GetFlags {
  readonly out?: string;
  readonly acceptLicence?: boolean;
}

/** Adds `data`. */
export function register(program: Command, context: CommandContext): void {
  registerData(program, context, catalogue);
}

/** Adds `data` over `entries`. */
export function registerData(program: Command, context: CommandContext, entries: readonly CatalogueEntry[]): void {
  const data = program.command('data');
  data
    .command('list')
    .description('the data sets that can be fetched: size, languages, licence, and what their content is checked by')
    .action(() => context.report({ dataSets: entries.map(documentOf) }, listText(entries)));
  data
    .command('get')
    .description('fetch a data set from where it was published, check and convert it')
    .argument('<name>', 'a name of "data list"')
    .option('--out <folder>', 'where it goes (default: a folder of its name)')
    .option('--accept-licence', 'you have read the licence and will name the authors')
    .addHelpText(
      'after',
      '\nTRIBUTARY_DATA_MIRROR in the environment names a server that has the paths of GitHub, in place of it.',
    )
    .action(async (name: string, flags: GetFlags) => {
      const entry = entryOf(name, entries);
      requireAcceptance(entry, flags);
      const folder = resolve(flags.out ?? name);
      const result = await fetchEntry(entry, folder, context);
      context.report({ folder, wasThere: result.wasThere, ...result.record }, getText(result, folder));
    });
  registerSplit(data, context);
}

function requireAcceptance({ name, licence, attribution }: CatalogueEntry, { acceptLicence }: GetFlags): void {
  if (acceptLicence === true) return;
  const note = licence.note === undefined ? '' : ` (${licence.note})`;
  throw new UsageError(
    'licence-not-accepted',
    `${name} is under ${licence.id}${note}: ${licence.url}; authors: ${attribution}. Give --accept-licence when you agree`,
  );
}

async function fetchEntry(entry: CatalogueEntry, folder: string, context: CommandContext): Promise<GetResult> {
  let line: { readonly file: string; readonly progress: Progress } | null = null;
  try {
    return await getDataSet(entry, {
      folder,
      mirror: process.env.TRIBUTARY_DATA_MIRROR || undefined,
      signal: context.signal,
      onProgress: (file, done, total) => {
        if (line?.file !== file) {
          line?.progress.finish();
          const label = file.slice(file.lastIndexOf('/') + 1);
          line = { file, progress: context.progress({ label, unit: 'bytes', ...(total === null ? {} : { total }) }) };
        }
        line.progress.update(done);
      },
    });
  } finally {
    (line as { readonly progress: Progress } | null)?.progress.finish();
  }
}

/** An entry as JSON: all but its function. */
function documentOf(entry: CatalogueEntry): object {
  const { convert: _, publication, ...facts } = entry;
  const { repository, commit, files, archive } = publication;
  const published = archive === undefined ? files : [{ path: 'archive.tar.gz' }];
  return {
    ...facts,
    publication: { repository, commit, url: `https://github.com/${repository}/tree/${commit}`, files: published },
    verification: verificationOf(entry),
  };
}

function listText(entries: readonly CatalogueEntry[]): string {
  const table = formatTable(
    [
      { heading: 'name' },
      { heading: 'task' },
      { heading: 'rows', align: 'right' },
      { heading: 'labels', align: 'right' },
      { heading: 'languages', align: 'right' },
      { heading: 'licence' },
      { heading: 'what it is' },
    ],
    entries.map(({ name, task, rowsAbout, labelCount, languages, licence, title }) => [
      name,
      task,
      `~${rowsAbout}`,
      labelCount === null ? '-' : `${labelCount}`,
      languages.length === 1 ? languages[0]! : `${languages.length}`,
      licence.id,
      title,
    ]),
  );
  const details = entries.map((entry) => {
    const { repository, commit } = entry.publication;
    return [
      `${entry.name}: github.com/${repository} at commit ${commit.slice(0, 12)}`,
      `  authors    ${entry.attribution}`,
      `  clients    ${entry.clients ?? 'none given; deal them out with a partition'}`,
      `  rows are   ${entry.made}`,
      `  checked    ${verificationOf(entry)}`,
    ].join('\n');
  });
  return `${table}\n\n${details.join('\n\n')}\n\nFetch one: tributary data get NAME --accept-licence`;
}

function getText({ record, wasThere }: GetResult, folder: string): string {
  const { name, published, converted } = record;
  const rows = splitSides.map((side) => `${converted[side].rows} ${side}`).join(', ');
  return [
    `${name}: ${rows} rows in ${folder}${wasThere ? ' (were there already)' : ''}`,
    `  checked   ${checkedText(record)}`,
    `  licence   ${record.licence.id}, ${record.licence.url}`,
    `  authors   ${record.attribution}`,
    `  record    source.json (${published.length} published ${published.length === 1 ? 'file' : 'files'} with their checksums)`,
    `Train on it: tributary train --train ${folder}/${converted.train.file} --held-out ${folder}/${converted.validation.file} --out ADAPTER`,
  ].join('\n');
}

/** What was compared with what: never more than there was to compare with. */
function checkedText({ published, convertedCheckedBy, commit }: DataSetRecord): string {
  const count = (wanted: readonly string[]): number =>
    published.filter((file) => wanted.includes(file.checkedBy)).length;
  const parts: [number, string][] = [
    [count(['sha256', 'git-blob']), 'by checksum'],
    [count(['commit']), `by the object ids of commit ${commit.slice(0, 12)}`],
    [count(['address']), `by nothing but the address, which names commit ${commit.slice(0, 12)}`],
  ];
  const files = parts.flatMap(([found, by]) => (found === 0 ? [] : [`${found} published ${by}`]));
  const rows = convertedCheckedBy === 'sha256' ? 'rows by checksum' : 'rows by nothing: no checksum is recorded';
  return [...files, rows].join('; ');
}
