/**
 * `npm run methods -- [--set clinc150] [--seeds 3] [--methods lora,houlsby] [--rows N] [--epochs N] [--workers N] [--data DIR] [--out DIR]
 * [--as-found] [--report]`:
 * every adapter method on one set, beside a linear probe, full fine-tuning and naive Bayes. Learning rates are searched first, on validation
 * rows, by one rule for all. Finished parts are kept in `OUT/SET.jsonl`; calling it again computes what is missing. `OUT/SET.json` and
 * `OUT/SET.md` are written anew from it; `--report` writes them from what is there. `--as-found` searches no further, and measures at the best
 * rates known.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { exitCodes } from '../../shared/command-line/exit-codes.ts';
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import { readResults } from '../experiments/results-file.ts';
import { setNames } from '../experiments/settings.ts';
import { type MethodCell, type MethodPlan, type MethodResult, methodKey, searchCells, testCells } from './cells.ts';
import { computeMissing, log } from './compute-missing.ts';
import { type Contender, contenderNames, contenders } from './contenders.ts';
import { dataFolder, namesFlag, readFlags, wholeFlag } from './options.ts';
import { methodsMarkdown } from './report.ts';

/** What the command was asked for. */
export interface MethodsOptions {
  readonly plan: MethodPlan;
  readonly methods: readonly Contender[];
  readonly seeds: readonly number[];
  readonly workers: number;
  readonly data: string;
  readonly out: string;
  /** Whether learning rates are taken as they were found so far. */
  readonly asFound: boolean;
  readonly report: boolean;
}

/** Rows of every cell: what one core trains in seconds. */
const sizes = { rows: 2400, epochs: 5, lengthMax: 32, batchSize: 16 } as const;

/** Reads the flags. @throws UsageError on an unknown flag, name or a number out of range. */
export function parseMethodsOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): MethodsOptions {
  const valued = ['set', 'seeds', 'methods', 'rows', 'epochs', 'workers', 'data', 'out'] as const;
  const { flags, isOn } = readFlags(args, valued, ['as-found', 'report']);
  const names = namesFlag('methods', flags.methods, contenderNames);
  const [set = 'clinc150', ...others] = flags.set === undefined ? [] : namesFlag('set', flags.set, setNames);
  if (others.length > 0) throw new UsageError('bad-flag', `--set: expected one of ${setNames.join(', ')}`);
  return {
    plan: {
      set,
      settings: {
        ...sizes,
        rows: wholeFlag('rows', flags.rows, sizes.rows),
        epochs: wholeFlag('epochs', flags.epochs, sizes.epochs),
      },
      validationRows: 600,
      testRows: 1000,
      // The federations on real data drew a thousand test rows, and a thousand others before that.
      passedOver: set === 'banking77' ? 1076 : 2000,
    },
    methods: contenders.filter(({ name }) => names.includes(name)),
    seeds: Array.from({ length: wholeFlag('seeds', flags.seeds, 3) }, (_, index) => index + 1),
    workers: wholeFlag('workers', flags.workers, 1),
    data: dataFolder(flags.data, environment),
    out: flags.out ?? fileURLToPath(new URL('.', import.meta.url)),
    asFound: isOn('as-found'),
    report: isOn('report'),
  };
}

async function run(options: MethodsOptions): Promise<void> {
  const { plan, methods, seeds, out, report } = options;
  mkdirSync(out, { recursive: true });
  const path = join(out, `${plan.set}.jsonl`);
  const known = readResults<MethodResult>(path, methodKey);
  const compute = (cells: readonly MethodCell[]) =>
    computeMissing<MethodCell, MethodResult>({
      cells,
      known,
      path,
      folder: options.data,
      worker: new URL('./worker.ts', import.meta.url),
      workerCount: options.workers,
      keyOf: methodKey,
      describe,
      describeResult,
    });
  const ofPlan = () => [...known.values()].filter(({ cell }) => isOfPlan(cell, plan));
  while (!(report || options.asFound)) {
    const wanted = searchCells(methods, plan, ofPlan());
    if (wanted.length === 0) break;
    log(`${wanted.length} learning rates to try on validation rows`);
    await compute(wanted);
  }
  const wanted = testCells(methods, seeds, plan, ofPlan()).filter(isComplete);
  if (!report) await compute(wanted);
  const results = wanted.flatMap((cell) => known.get(methodKey(cell)) ?? []);
  const search = ofPlan().filter(({ cell }) => cell.split === 'validation');
  const markdown = methodsMarkdown({ plan, methods, results, search });
  writeFileSync(join(out, `${plan.set}.json`), `${JSON.stringify({ plan, methods, results, search }, null, 2)}\n`);
  writeFileSync(join(out, `${plan.set}.md`), markdown);
  process.stdout.write(markdown);
}

/** Whether a cell was computed with the sizes of a plan. */
function isOfPlan({ set, split, settings }: MethodCell, plan: MethodPlan): boolean {
  const { testRows, passedOver, learningRate: _, ...own } = settings;
  const [rows, over] = split === 'test' ? [plan.testRows, plan.passedOver] : [plan.validationRows, 0];
  return (
    set === plan.set &&
    testRows === rows &&
    passedOver === over &&
    JSON.stringify(own) === JSON.stringify(plan.settings)
  );
}

/** Whether a cell can be computed: naive Bayes has no learning rate, everything else one that was found. */
function isComplete({ method, settings }: MethodCell): boolean {
  return method === 'naive-bayes' || settings.learningRate !== null;
}

function describe({ set, seed, method, split, settings: { learningRate } }: MethodCell): string {
  return `${set}, ${split}, seed ${seed}, ${method}${learningRate === null ? '' : ` at ${learningRate}`}`;
}

function describeResult({ accuracy, epochSeconds, diverged }: MethodResult): string {
  const pace = epochSeconds === null ? '' : `, ${epochSeconds.toFixed(1)} s per epoch`;
  return `accuracy ${(100 * accuracy).toFixed(1)} %${diverged ? ' (diverged)' : ''}${pace}`;
}

if (import.meta.main) {
  try {
    await run(parseMethodsOptions(process.argv.slice(2), process.env));
  } catch (thrown) {
    log(`methods: ${errorMessage(thrown)}`);
    process.exitCode = thrown instanceof UsageError ? exitCodes.wrongUse : exitCodes.failed;
  }
}
