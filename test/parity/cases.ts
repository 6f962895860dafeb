/** Finds the cases of a folder of fixtures. A new kind of fixture is one file and one line here. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FederationError } from '../../shared/core/errors.ts';
import { describeFiles } from '../../shared/model/load.ts';
import { adapterHubCases } from './adapterhub-cases.ts';
import { baseOnlyCases } from './base-cases.ts';
import { brokenCase, type CaseKind, type FixtureFolder, missingCase, type ParityCase } from './case.ts';
import { checkpointFiles } from './fixture-files.ts';
import { hyperformerCases } from './hyperformer-cases.ts';
import { mergeCases } from './merge-cases.ts';
import { peftCases } from './peft-cases.ts';
import { routerCases } from './router-case.ts';

/** Other parts described by `case.json`. */
const partCases: CaseKind = {
  recognises: ({ entries }) => entries.has('case.json') || !entries.has('config.json'),
  open: ({ name }) => Promise.resolve([missingCase(name, 'what its case.json describes')]),
};

/** The kinds; the first that recognises a folder opens it. */
const kinds: readonly CaseKind[] = [
  adapterHubCases,
  peftCases,
  hyperformerCases,
  routerCases,
  mergeCases,
  partCases,
  baseOnlyCases,
];

/** A folder of fixtures with its cases. */
export interface OpenedFolder {
  readonly folder: FixtureFolder;
  readonly cases: readonly ParityCase[];
}

/** All folders below `path`, by name. */
export async function openFolders(path: string): Promise<OpenedFolder[]> {
  const entries = await readdir(path, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return Promise.all(names.sort().map((name) => openFolder(name, join(path, name))));
}

async function openFolder(name: string, path: string): Promise<OpenedFolder> {
  const folder: FixtureFolder = { name, path, entries: new Set(await readdir(path)) };
  const kind = kinds.find((candidate) => candidate.recognises(folder));
  if (kind === undefined) return { folder, cases: [brokenCase(name, new Error('no kind of fixture looks like this'))] };
  const cases = await kind.open(folder);
  const family = folder.entries.has('config.json') ? await missingFamily(path) : null;
  if (family === null) return { folder, cases };
  return { folder, cases: cases.map((one) => missingCase(one.name, one.missing ?? family)) };
}

/** The family that this version lacks; null where it has it, and where the checkpoint is broken, which shows when a case loads it. */
async function missingFamily(path: string): Promise<string | null> {
  try {
    describeFiles(await checkpointFiles(path));
    return null;
  } catch (cause) {
    if (!(cause instanceof FederationError) || cause.code !== 'unsupported-family') return null;
    return `family ${/model_type is "?([^";]*)"?/.exec(cause.message)?.[1] ?? 'unknown'}`;
  }
}
