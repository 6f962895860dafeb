/**
 * The main job: federations over sockets (with the adapter, and of a head alone), the same adapter trained alone at each site and on pooled rows,
 * a bag of words, and the comparison of all of them on the same test rows.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createAdapterDocument } from '../../shared/adapters/adapter-document.ts';
import { writeAdapterFolder } from '../../shared/adapters/adapter-folder.node.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { assert } from '../../shared/core/assert.ts';
import type { Row } from '../../shared/data/row.ts';
import { type ColumnMapping, readRows } from '../../shared/data/rows.node.ts';
import type { BaseDescription } from '../../shared/model/base-model.ts';
import { describeBase, pretrainedFolder } from '../../shared/model/load.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { classifierLayout } from '../../shared/training/initial-adapter.ts';
import { localStepCount } from '../../shared/training/train.ts';
import type { FederationOutcome, Federations } from './federate.ts';
import { startFederations } from './federate.ts';
import { openFolder, type RunFolder, writeRows, writeSite } from './folder.ts';
import { type LearningJob, type LearningOutcome, runJobs, stepsOf } from './learners.ts';
import type { ComputeChoice, TestGroups } from './messages.ts';
import { accuracyOf, trainNaiveBayes } from './naive-bayes.ts';
import { checkOptions, processCount, type QuickstartHooks, type QuickstartOptions } from './options.ts';
import { makePlan, policyDocument } from './plans.ts';
import { generateSample } from './sample/generate.ts';
import { type Division, divide } from './sites.ts';
import type { Score, Summary } from './summary.ts';
import { percent, scoreOf, scoresOf } from './summary.ts';

/** Everything that a finished run knows, for the table and the report. */
export interface QuickstartResult {
  readonly summary: Summary;
  readonly folder: RunFolder;
  readonly options: QuickstartOptions;
  readonly base: BaseDescription;
  readonly baseFolder: string;
  readonly division: Division;
  readonly plan: Plan;
  readonly federated: FederationOutcome;
  readonly head: FederationOutcome;
  /** Trainings alone, in the order of the sites, and on pooled rows. */
  readonly local: readonly LearningOutcome[];
  readonly pooled: LearningOutcome;
}

/** Rows, their division and where everything lies. */
interface Setting {
  readonly options: QuickstartOptions;
  readonly hooks: QuickstartHooks;
  readonly folder: RunFolder;
  readonly baseFolder: string;
  readonly division: Division;
  readonly train: readonly Row[];
  readonly test: readonly Row[];
  readonly compute: ComputeChoice;
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
  const planFor = (name: string, adapter: QuickstartOptions['adapter']): Plan =>
    makePlan({ name, adapter, base, labels, options });
  const plan = planFor(`Quickstart: ${options.adapter}`, options.adapter);
  const headPlan = options.adapter === 'none' ? plan : planFor('Quickstart: head alone', 'none');
  for (const site of sites) writeSite(folder, site, policyDocument([plan, headPlan], options));
  const { backend, threads } = options;
  const setting: Setting = { options, hooks, folder, baseFolder, division, train, test, compute: { backend, threads } };
  hooks.log(
    `${sites.length} sites, ${train.length} training rows with ${labels.length} labels, ${test.length} test rows; base ${base.family}, ${base.layerCount} layers of ${base.hiddenSize}`,
  );

  const { federated, head } = await runFederations(setting, plan, headPlan);
  const { local, pooled, federatedTest, headTest } = await runLearners(setting, plan, headPlan, federated, head);

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
  await writeAdapter(folder, plan, base, federated);
  writeFileSync(folder.summary, `${JSON.stringify(summary)}\n`);
  return { summary, folder, options, base, baseFolder, division, plan, federated, head, local, pooled };
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

/** Both federations, one after the other, through the same processes; a head alone that is the adapter itself runs once. */
async function runFederations(
  { hooks, folder, baseFolder, division, compute }: Setting,
  plan: Plan,
  headPlan: Plan,
): Promise<{ readonly federated: FederationOutcome; readonly head: FederationOutcome }> {
  const sites = division.sites.map(({ name, heldOut }) => ({
    name,
    trainFile: folder.site(name, 'train.jsonl'),
    heldOutFile: heldOut.length === 0 ? null : folder.site(name, 'held-out.jsonl'),
    policyFile: folder.site(name, 'policy.json'),
  }));
  const federations: Federations = startFederations({ sites, baseFolder, compute, signal: hooks.signal });
  const run = async (label: string, name: string, of: Plan): Promise<FederationOutcome> => {
    const perRound = division.sites.reduce((sum, site) => sum + localStepCount(of.training, site.train.length), 0);
    const progress = hooks.progress({ label, unit: 'steps', total: perRound * of.rounds.count });
    mkdirSync(folder.coordinator(name), { recursive: true });
    try {
      const outcome = await federations.run({
        plan: of,
        coordinatorFolder: folder.coordinator(name),
        clientsFolder: folder.clients(name),
        onListening: (url) =>
          hooks.log(`${label}: coordinator at ${url}, ${sites.length} sites in processes of their own`),
        onStep: (stepsDone, published) => {
          const accuracy = published?.accuracy ?? null;
          const note = published === null ? '' : `round ${published.roundIndex + 1} of ${of.rounds.count}`;
          progress.update(stepsDone, accuracy === null ? note : `${note}, held-out accuracy ${percent(accuracy)}`);
        },
      });
      progress.finish();
      for (const problem of outcome.problems) hooks.log(`${label}: ${problem}`);
      return outcome;
    } finally {
      progress.finish();
    }
  };
  try {
    const federated = await run('federated adapter', 'adapter', plan);
    const head = headPlan === plan ? federated : await run('federated head alone', 'head', headPlan);
    return { federated, head };
  } finally {
    await federations.close();
  }
}

/** Trainings without a federation, and the test scores of what the federations published. */
async function runLearners(
  { options, hooks, folder, baseFolder, division, test, compute }: Setting,
  plan: Plan,
  headPlan: Plan,
  federated: FederationOutcome,
  head: FederationOutcome,
) {
  const { sites } = division;
  const train = (name: string, of: typeof sites): LearningJob => {
    const rowCount = of.reduce((sum, site) => sum + site.train.length, 0);
    const trainFiles = of.map((site) => folder.site(site.name, 'train.jsonl'));
    return { name, plan, task: { kind: 'train', trainFiles, stepsPerRound: localStepCount(plan.training, rowCount) } };
  };
  const evaluate = (name: string, of: Plan, parameters: Float32Array): LearningJob => {
    return { name, plan: of, task: { kind: 'evaluate', parameters } };
  };
  const jobs: LearningJob[] = [
    train('pooled rows', sites),
    ...sites.map((site) => train(`${site.name} alone`, [site])),
    evaluate('test of the federated adapter', plan, federated.adapter),
    evaluate('test of the federated head', headPlan, head.adapter),
  ];
  const owned = new Set(sites.flatMap(({ ownTest }) => ownTest));
  const testGroups: TestGroups = [
    ...sites.map(({ ownTest }) => ownTest),
    [...test.keys()].filter((index) => !owned.has(index)),
  ];
  const total = jobs.reduce((sum, job) => sum + stepsOf(job), 0);
  const progress = hooks.progress({ label: 'baselines and tests', unit: 'steps', total });
  try {
    const outcomes = await runJobs({
      jobs,
      processCount: Math.min(processCount(options), availableParallelism()),
      baseFolder,
      testFile: folder.testFile,
      testGroups,
      heldOutFiles: sites.flatMap(({ name, heldOut }) =>
        heldOut.length === 0 ? [] : [folder.site(name, 'held-out.jsonl')],
      ),
      compute,
      signal: hooks.signal,
      onStep: (stepsDone, job) => progress.update(stepsDone, job),
    });
    const [pooled, ...others] = outcomes;
    const headTest = others.pop();
    const federatedTest = others.pop();
    assert(pooled !== undefined && headTest !== undefined && federatedTest !== undefined, 'every job has an outcome');
    return { pooled, local: others, federatedTest, headTest };
  } finally {
    progress.finish();
  }
}

/** Trained on all rows, those included that sites hold out: the baseline gets what there is. */
function bagOfWords({ division, train, test }: Setting): Score {
  const model = trainNaiveBayes(train);
  return {
    pooled: accuracyOf(model, test) ?? 0,
    own: division.sites.map(({ ownTest }) =>
      accuracyOf(
        model,
        ownTest.map((index) => test[index]!),
      ),
    ),
  };
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
