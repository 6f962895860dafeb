/**
 * The main job: federations over sockets (with the adapter, and of a head alone), the same adapter trained alone at each site and on pooled rows,
 * a bag of words, and the comparison of all of them on the same test rows.
 */
import { writeFileSync } from 'node:fs';
import { metricOf } from '../../client/commands/options.ts';
import { classWeightsOf, countLabels } from '../../client/commands/task-options.ts';
import { createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { TaskRow } from '../../shared/data/row.ts';
import { type ColumnMapping, viewsOf } from '../../shared/data/row-fields.ts';
import { readRowsAs } from '../../shared/data/rows.node.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase, pretrainedFolder, readTokenizer } from '../../shared/model/load.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { isMasked } from '../../shared/plan/secure-aggregation.ts';
import type { Task } from '../../shared/plan/task.ts';
import { taskLayout } from '../../shared/training/initial-adapter.ts';
import { type MetricName, metricFacts } from '../../shared/training/metrics.ts';
import { bindTask, rowForms } from '../../shared/training/tasks/registry.ts';
import type { BoundTask, RowForm } from '../../shared/training/tasks/task.ts';
import { bagOfWords, type Plans, runFederations, runLearners, type Setting } from './contenders.ts';
import type { FederationOutcome } from './federate.ts';
import { openFolder, type RunFolder, writeRows, writeSite } from './folder.ts';
import type { LearningOutcome } from './learners.ts';
import { checkOptions, type QuickstartHooks, type QuickstartOptions } from './options.ts';
import { adapterSettingsOf, makePlan, makeTask, policyDocument, type Trainer, taskFor } from './plans.ts';
import { generateSample } from './sample/generate.ts';
import { type Division, divide } from './sites.ts';
import type { Score, Summary } from './summary.ts';
import { scoreOf, scoresOf } from './summary.ts';

/** Everything that a finished run knows, for the table and the report. */
export interface QuickstartResult {
  readonly summary: Summary;
  readonly folder: RunFolder;
  readonly options: QuickstartOptions;
  readonly base: BaseDescription;
  readonly baseFolder: string;
  readonly division: Division;
  readonly plans: Plans;
  readonly federated: FederationOutcome;
  /** Null where the task has no head. */
  readonly head: FederationOutcome | null;
  readonly metric: MetricName;
  /** Trainings alone, in the order of the sites, and on pooled rows. */
  readonly local: readonly LearningOutcome[];
  readonly pooled: LearningOutcome;
}

/**
 * Runs everything and writes the adapter folder and `summary.json`.
 * @throws UsageError and FormatError for wrong options, rows or bases; FederationError when a process fails; the reason of the hooks' signal.
 */
export async function runQuickstart(options: QuickstartOptions, hooks: QuickstartHooks): Promise<QuickstartResult> {
  const startedMs = performance.now();
  checkOptions(options);
  const baseFolder = options.baseFolder ?? pretrainedFolder();
  const base = await describeBase(baseFolder);
  const { train, test } = await readData(options);
  const { clientCount, partition, seed, adapter } = options;
  const isLanguage = options.task === 'causal' || options.task === 'masked';
  const division = divide({ train, test, hasLabels: !isLanguage, partition, clientCount, seed });
  const { labels, sites } = division;
  const bound = parseAdapter(adapterSettingsOf(adapter), base);
  const task = bindTask(weighted(makeTask(options.task, labels, base, bound.virtualTokens), options, train));
  const learned = bindTask(taskFor(bound, task.task));
  const metric = metricOf(options.metric ?? undefined, task);
  requireBase(task, base);
  // What no site could read ends the run here, not a recruiting period later.
  task.encode(train[0]!, await readTokenizer(baseFolder));
  // Only now: a folder with an earlier result is not emptied for a run that cannot begin.
  const folder = openFolder(options.outFolder);
  const { rows: form } = task;
  writeRows(folder.trainFile, train, form);
  writeRows(folder.testFile, test, form);
  const planFor = (name: string, adapter: QuickstartOptions['adapter'], trainer: Trainer): Plan =>
    makePlan({ name: `Quickstart: ${name}`, adapter, trainer, base, task: learned.task, options });
  const plan = planFor(adapter, adapter, 'federation');
  const headPlan = adapter === 'none' ? plan : isLanguage ? null : planFor('head alone', 'none', 'federation');
  const plans: Plans = {
    federated: plan,
    head: headPlan,
    local: planFor('one site alone', adapter, 'site alone'),
    pooled: planFor('pooled rows', adapter, 'pooled rows'),
  };
  const approved = plans.head === null ? [plans.federated] : [plans.federated, plans.head];
  for (const site of sites) writeSite(folder, site, form, policyDocument(approved, options));
  const { backend, threads, frozenWeights = 'auto' } = options;
  const compute = { backend, threads, frozenWeights };
  const setting: Setting = { options, hooks, folder, baseFolder, division, train, test, task, metric, compute };
  hooks.log(
    `${sites.length} sites, ${train.length} training rows${labels.length === 0 ? '' : ` with ${labels.length} labels`}, ${test.length} test rows; base ${base.family}, ${base.layerCount} layers of ${base.hiddenSize}`,
  );

  const { federated, head } = await runFederations(setting, plans);
  const { local, pooled, federatedTest, headTest } = await runLearners(setting, plans, federated, head);

  const scoreCounts = (counts: LearningOutcome['counts']): Score =>
    scoreOf(counts, sites.length, { ...learned, metric });
  const score = ({ counts }: LearningOutcome): Score => scoreCounts(counts);
  const words = countsLabels.has(metric) ? bagOfWords(setting) : null;
  const summary: Summary = {
    metric: { name: metric, higherIsBetter: metricFacts[metric].higherIsBetter },
    task: options.task,
    missing: [
      ...(words === null
        ? [`bag of words: words alone give no ${metricFacts[metric].title} for the task ${options.task}`]
        : []),
      ...(headTest === null ? [`head alone: the task ${options.task} is scored by the frozen output of the base`] : []),
    ],
    scores: scoresOf({
      bagOfWords: words === null ? null : scoreOf(words, sites.length, { ...task, metric }),
      head: headTest === null ? null : score(headTest),
      local: local.map(score),
      federated: score(federatedTest),
      pooled: score(pooled),
    }),
    rounds: federated.rounds.length,
    coordinatorSaw: {
      isMasked: isMasked(plan),
      fewest: Math.min(...federated.rounds.map(({ contributors }) => contributors)),
    },
    bytes: federated.traffic,
    seconds: (performance.now() - startedMs) / 1000,
    backend: federated.backend,
    parameters: { trainable: federatedTest.trainable, frozen: federatedTest.frozen },
    seed,
    sites: sites.map((site) => ({
      name: site.name,
      trainRows: site.train.length,
      heldOutRows: site.heldOut.length,
      testRows: site.ownTest.length,
    })),
    secondsOf: {
      head: head?.seconds ?? null,
      local: local.map(({ seconds }) => seconds),
      federated: federated.seconds,
      pooled: pooled.seconds,
    },
  };
  await writeAdapter(folder, plans.federated, base, federated);
  writeFileSync(folder.summary, `${JSON.stringify(summary)}\n`);
  return { summary, folder, options, base, baseFolder, division, plans, federated, head, metric, local, pooled };
}

/** The task with the weights of its labels, from the rows of all sites together. @throws UsageError where it has no use for them. */
function weighted(task: Task, { classWeights }: QuickstartOptions, rows: readonly TaskRow[]): Task {
  if (classWeights === null) return task;
  if (task.kind !== 'classification' && task.kind !== 'multi-label')
    throw new UsageError('bad-option', `--class-weights belongs to texts with labels, found --task ${task.kind}`);
  const facts = { labels: countLabels(rows), rowCount: rows.length };
  return { ...task, classWeights: classWeightsOf({ task: task.kind, classWeights }, task.labels, facts) };
}

/** Metrics that follow from predicted labels alone, without probabilities. */
const countsLabels: ReadonlySet<MetricName> = new Set(['accuracy', 'macroF1', 'entityF1']);

/** @throws UsageError `bad-base` when the base cannot do the task. */
function requireBase(task: BoundTask, base: BaseDescription): void {
  const fault = task.fault(base);
  if (fault !== null)
    throw new UsageError('bad-base', `the task does not fit the base: ${fault.field} ${fault.sentence}`);
}

interface Rows {
  readonly train: readonly TaskRow[];
  readonly test: readonly TaskRow[];
}

async function readData({ data, partition, task }: QuickstartOptions): Promise<Rows> {
  const { read } = rowForms[task];
  if (data === null) return sampleRows(read);
  const mapping: ColumnMapping = {
    text: data.textColumn ?? undefined,
    label: data.labelColumn ?? undefined,
    names: data.labelNames ?? undefined,
    group: partition.kind === 'natural' ? partition.column : undefined,
  };
  const readAll = (path: string) => readRowsAs(path, (view) => read(view, mapping));
  return { train: await readAll(data.train), test: await readAll(data.test) };
}

/** The sample as rows; their owners are its sites. */
function sampleRows(read: RowForm['read']): Rows {
  const { train, test } = generateSample();
  const rowsOf = (rows: typeof train): TaskRow[] => viewsOf(rows).map((view) => read(view, { group: 'client' }));
  return { train: rowsOf(train), test: rowsOf(test) };
}

async function writeAdapter(
  folder: RunFolder,
  plan: Plan,
  base: BaseDescription,
  { adapter: parameters, lineage }: FederationOutcome,
): Promise<void> {
  const adapter = parseAdapter(plan.adapter, base);
  const layout = taskLayout(adapter, base, plan.task);
  await writeAdapterFolder(
    folder.adapter,
    createAdapterDocument({ base, adapter: adapter.configuration, task: plan.task, layout, parameters, lineage }),
  );
}
