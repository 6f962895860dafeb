/** The parity suite: every case of a folder of fixtures, on several back ends, against the reference's outputs and gradients. */
import { engine } from '@tensorflow/tfjs-core';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import { errorMessage } from '../../shared/core/errors.ts';
import { networkFrom } from '../../shared/model/load.ts';
import type { ParityCase } from './case.ts';
import { type OpenedFolder, openFolders } from './cases.ts';
import { type Comparison, compare } from './compare.ts';
import { checkpointFiles } from './fixture-files.ts';

/** What {@link runParity} needs. */
export interface ParityOptions {
  /** Folder with one folder per checkpoint or part. */
  readonly fixtures: string;
  readonly backends: readonly BackendName[];
  /** Whether missing cases fail the suite. */
  readonly strict: boolean;
  /** Names of the cases to run; all when left out. */
  readonly only?: ReadonlySet<string>;
  readonly print: (line: string) => void;
}

/** How the suite went. */
export interface ParitySummary {
  readonly run: number;
  readonly failed: number;
  readonly missing: number;
  readonly passed: boolean;
}

/** Runs all cases, prints one line for each and `parity: R run, F failed, M missing` at the end. */
export async function runParity({ fixtures, backends, strict, only, print }: ParityOptions): Promise<ParitySummary> {
  const summary = { run: 0, failed: 0, missing: 0 };
  for (const { folder, cases } of await foldersOf(fixtures, print)) {
    const opened = { folder, cases: cases.filter(({ name }) => only?.has(name) ?? true) };
    const results = await runFolder(opened, backends);
    for (const { name, missing } of opened.cases) {
      if (missing !== null) {
        summary.missing += 1;
        print(`missing  ${name.padEnd(32)} ${missing}`);
        continue;
      }
      const comparisons = results.get(name)!;
      const faults = comparisons.flatMap((comparison, index) =>
        comparison.faults.map((fault) => `${backends[index]}: ${fault}`),
      );
      summary.run += 1;
      if (faults.length > 0) summary.failed += 1;
      print(`${faults.length > 0 ? 'FAILED ' : 'ok     '}  ${name.padEnd(32)} ${errorsText(comparisons, backends)}`);
      for (const fault of faults) print(`         ${fault}`);
    }
  }
  print(`parity: ${summary.run} run, ${summary.failed} failed, ${summary.missing} missing`);
  return { ...summary, passed: summary.failed === 0 && summary.run > 0 && !(strict && summary.missing > 0) };
}

async function foldersOf(fixtures: string, print: ParityOptions['print']): Promise<OpenedFolder[]> {
  try {
    return await openFolders(fixtures);
  } catch (thrown) {
    print(`no fixtures in ${fixtures}: ${errorMessage(thrown)}`);
    return [];
  }
}

function errorsText(comparisons: readonly Comparison[], backends: readonly BackendName[]): string {
  const worst = (values: readonly (number | null)[]) => {
    const numbers = values.filter((value) => value !== null);
    return numbers.length === 0
      ? 'none'.padEnd(7)
      : numbers.reduce((left, right) => Math.max(right, left)).toExponential(1);
  };
  const outputs = worst(comparisons.map(({ outputs: error }) => error));
  const gradients = worst(comparisons.map(({ gradients: error }) => error));
  return `largest error: outputs ${outputs}, gradients ${gradients} (${backends.join(', ')})`;
}

/** What each case of a folder that runs came to, per back end. */
async function runFolder(
  { folder, cases }: OpenedFolder,
  backends: readonly BackendName[],
): Promise<Map<string, Comparison[]>> {
  const runnable = cases.filter(({ missing }) => missing === null);
  const results = new Map<string, Comparison[]>(runnable.map(({ name }) => [name, []]));
  if (runnable.length === 0) return results;
  for (const backend of backends) {
    await useBackend(backend);
    const base = await loadBase(folder.path);
    for (const one of runnable) results.get(one.name)!.push(await judge(one, base));
    if (base.ok) base.model.dispose();
  }
  return results;
}

type LoadedNetwork =
  | { readonly ok: true; readonly model: ReturnType<typeof networkFrom> }
  | { readonly ok: false; readonly cause: unknown };

async function loadBase(path: string): Promise<LoadedNetwork> {
  try {
    return { ok: true, model: networkFrom(await checkpointFiles(path)) };
  } catch (cause) {
    return { ok: false, cause };
  }
}

async function judge({ compute, computeAlone }: ParityCase, base: LoadedNetwork): Promise<Comparison> {
  engine().startScope();
  try {
    if (computeAlone !== undefined) return compare(await computeAlone());
    if (!base.ok) throw base.cause;
    return compare(await compute(base.model));
  } catch (thrown) {
    return { outputs: null, gradients: null, faults: [errorMessage(thrown)] };
  } finally {
    engine().endScope();
  }
}
