/** The folder of a run's results: made new, or emptied of an earlier run; nobody else's files are touched. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UsageError } from '../../shared/core/errors.ts';
import type { TaskRow } from '../../shared/data/row.ts';
import type { RowForm } from '../../shared/training/tasks/task.ts';
import type { Site } from './sites.ts';

/** Says that a folder was made by the quickstart and may be emptied by the next run. */
const marker = '.tributary-quickstart';

/** Paths of a run. */
export interface RunFolder {
  readonly root: string;
  /** The federated adapter, as `tributary evaluate` reads it. */
  readonly adapter: string;
  readonly report: string;
  readonly summary: string;
  readonly trainFile: string;
  readonly testFile: string;
  /** Durable state of a federation's coordinator. */
  coordinator(federation: string): string;
  /** Keys and journals of a federation's clients. */
  clients(federation: string): string;
  /** A file of a site. */
  site(name: string, file: string): string;
}

/**
 * Makes the folder ready.
 * @throws UsageError `folder-in-use` when it holds files that no quickstart wrote.
 */
export function openFolder(path: string): RunFolder {
  const root = resolve(path);
  if (existsSync(root) && readdirSync(root).length > 0) {
    if (!existsSync(join(root, marker))) {
      throw new UsageError(
        'folder-in-use',
        `--out ${path} holds files that are not of a quickstart; give a new or empty folder`,
      );
    }
    for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true, force: true });
  }
  mkdirSync(join(root, 'data'), { recursive: true });
  writeFileSync(
    join(root, marker),
    'Made by "tributary quickstart"; the next run with this --out empties the folder.\n',
  );
  return {
    root,
    adapter: join(root, 'adapter'),
    report: join(root, 'report.html'),
    summary: join(root, 'summary.json'),
    trainFile: join(root, 'data', 'train.jsonl'),
    testFile: join(root, 'data', 'test.jsonl'),
    coordinator: (federation) => join(root, 'state', federation, 'coordinator'),
    clients: (federation) => join(root, 'state', federation, 'clients'),
    site: (name, file) => join(root, 'sites', name, file),
  };
}

/** Writes rows as every process of a run reads them, whatever the user's files look like; owners stand in the column `client`. */
export function writeRows(path: string, rows: readonly TaskRow[], { write }: Pick<RowForm, 'write'>): void {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(write(row))}\n`).join(''));
}

/** Writes what a site holds: its rows, and the policy that its owner would write. */
export function writeSite(folder: RunFolder, { name, train, heldOut }: Site, form: RowForm, policy: object): void {
  mkdirSync(folder.site(name, '.'), { recursive: true });
  writeRows(folder.site(name, 'train.jsonl'), train, form);
  if (heldOut.length > 0) writeRows(folder.site(name, 'held-out.jsonl'), heldOut, form);
  writeFileSync(folder.site(name, 'policy.json'), `${JSON.stringify(policy, null, 2)}\n`);
}
