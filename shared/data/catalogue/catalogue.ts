/** The data sets that `tributary data` knows. */
import { UsageError } from '../../core/errors.ts';
import { banking77 } from './banking77.ts';
import { clinc150 } from './clinc150.ts';
import type { CatalogueEntry } from './entry.ts';
import { medquad } from './medquad.ts';
import { medquadAnswers } from './medquad-answers.ts';
import { shakespeare } from './shakespeare.ts';
import { xsid } from './xsid.ts';

/** Every set, in the order in which they are listed. */
export const catalogue: readonly CatalogueEntry[] = [banking77, clinc150, medquad, medquadAnswers, xsid, shakespeare];

/** The set called `name`. @throws UsageError `unknown-data-set` that names those there are. */
export function entryOf(name: string, entries: readonly CatalogueEntry[]): CatalogueEntry {
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry !== undefined) return entry;
  const names = entries.map((known) => known.name).join(', ');
  throw new UsageError('unknown-data-set', `there is no data set ${JSON.stringify(name)}; there are: ${names}`);
}

/** How far the content of a set is checked when it is fetched, in words for people. */
export function verificationOf({ publication, converted }: CatalogueEntry): string {
  const { files, archive, commit } = publication;
  const known = files.filter(({ sha256, gitBlob }) => sha256 !== undefined || gitBlob !== undefined).length;
  const byCommit = `the object ids that commit ${commit.slice(0, 12)} stands for (a mirror without git's protocol: by nothing)`;
  const published =
    archive === undefined && known === files.length
      ? 'published files by checksum'
      : known > 0
        ? `${known} of ${files.length} published files by checksum, the others by ${byCommit}`
        : `published files by ${byCommit}`;
  return converted === undefined
    ? `${published}; rows as converted: no recorded checksum`
    : `${published}; rows by checksum`;
}
