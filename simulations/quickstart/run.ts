/**
 * The main job: federations over sockets (with the adapter, and of a head alone), the same adapter trained alone at each site and on pooled rows,
 * a bag of words, and the comparison of all of them on the same test rows.
 */
import { writeFileSync } from 'node:fs';
import { createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import type { Row } from '../../shared/data/row.ts';
import { type ColumnMapping, readRows } from '../../shared/data/rows.node.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { classifierLayout } from '../../shared/training/initial-adapter.ts';
import { bagOfWords, type Plans, runFederations, runLearners, type Setting } from './contenders.ts';
import type { FederationOutcome } from './federate.ts';
import { openFolder, type RunFolder, writeRows, writeSite } from './folder.ts';
import type { LearningOutcome } from './learners.ts';
import { checkOptions, type QuickstartHooks, type QuickstartOptions } from './options.ts';
import { makePlan, policyDocument, type Trainer } from './plans.ts';
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
  readonly head: FederationOutcome;
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
  const { clientCount, partition, seed } = options;
  const division = divide({ train, test, partition, clientCount, seed });
  const { labels, sites } = division;
  // Only now: a folder with an earlier result is not emptied for a run that cannot begin.
  const folder = openFolder(options.outFolder);
  writeRows(folder.trainFile, train);
  writeRows(folder.testFile, test);
  const planFor = (name: string, adapter: QuickstartOptions['adapter'], trainer: Trainer): Plan =>
    makePlan({ name: `Quickstart: ${name}`, adapter, trainer, base, labels, options });
  const { adapter } = options;
  const plan = planFor(adapter, adapter, 'federation');
  const plans: Plans = {
    federated: plan,
    head: adapter === 'none' ? plan : planFor('head alone', 'none', 'federation'),
    local: planFor('one site alone', adapter, 'site alone'),
    pooled: planFor('pooled rows', adapter, 'pooled rows'),
  };
  for (const site of sites) writeSite(folder, site, policyDocument([plans.federated, plans.head], options));
  const { backend, threads } = options;
  const setting: Setting = { options, hooks, folder, baseFolder, division, train, test, compute: { backend, threads } };
  hooks.log(
    `${sites.length} sites, ${train.length} training rows with ${labels.length} labels, ${test.length} test rows; base ${base.family}, ${base.layerCount} layers of ${base.hiddenSize}`,
  );

  const { federated, head } = await runFederations(setting, plans);
  const { local, pooled, federatedTest, headTest } = await runLearners(setting, plans, federated, head);

  const score = ({ counts }: LearningOutcome): Score => scoreOf(counts, sites.length, labels.length);
  const summary: Summary = {
    metric: { name: 'accuracy', higherIsBetter: true },
    scores: scoresOf({
      bagOfWords: bagOfWords(setting),
      head: score(headTest),
      local: local.map(score),
      federated: score(federatedTest),
      pooled: score(pooled),
    }),
    rounds: federated.rounds.length,
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
      head: head.seconds,
      local: local.map(({ seconds }) => seconds),
      federated: federated.seconds,
      pooled: pooled.seconds,
    },
  };
  await writeAdapter(folder, plans.federated, base, federated);
  writeFileSync(folder.summary, `${JSON.stringify(summary)}\n`);
  return { summary, folder, options, base, baseFolder, division, plans, federated, head, local, pooled };
}

async function readData({
  data,
  partition,
}: QuickstartOptions): Promise<{ readonly train: readonly Row[]; readonly test: readonly Row[] }> {
  if (data === null) return sampleRows();
  const group = partition.kind === 'natural' ? { group: partition.column } : {};
  const mapping: ColumnMapping = { text: data.textColumn, label: data.labelColumn, ...group };
  return { train: await readRows(data.train, mapping), test: await readRows(data.test, mapping) };
}

/** The sample as rows; their owners are its sites. */
function sampleRows(): { readonly train: readonly Row[]; readonly test: readonly Row[] } {
  const { train, test } = generateSample();
  const rowsOf = (rows: typeof train): Row[] =>
    rows.map(({ text, label, client }, index) => ({ text, label, group: client, line: index + 1 }));
  return { train: rowsOf(train), test: rowsOf(test) };
}

async function writeAdapter(
  folder: RunFolder,
  plan: Plan,
  base: BaseDescription,
  { adapter: parameters, lineage }: FederationOutcome,
): Promise<void> {
  const adapter = parseAdapter(plan.adapter, base);
  const layout = classifierLayout(adapter, { hiddenSize: base.hiddenSize, labelCount: plan.task.labels.length });
  await writeAdapterFolder(
    folder.adapter,
    createAdapterDocument({ base, adapter: adapter.configuration, task: plan.task, layout, parameters, lineage }),
  );
}
