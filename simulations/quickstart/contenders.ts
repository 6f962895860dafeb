/** What a run compares: the federations, the trainings without one, and the bag of words, each with its progress. */
import { mkdirSync } from 'node:fs';
import { assert } from '../../shared/core/assert.ts';
import type { Row, TaggedRow, TaskRow } from '../../shared/data/row.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { CountShape, EvaluationCounts } from '../../shared/training/counts.ts';
import { type MetricName, metricFacts, metricText } from '../../shared/training/metrics.ts';
import type { BoundTask } from '../../shared/training/tasks/task.ts';
import { localStepCount } from '../../shared/training/train.ts';
import type { FederationOutcome, Federations } from './federate.ts';
import { startFederations } from './federate.ts';
import type { RunFolder } from './folder.ts';
import { countTags, trainFrequentTags } from './frequent-tags.ts';
import { type LearningJob, runJobs, stepsOf } from './learners.ts';
import type { ComputeChoice, TestGroups } from './messages.ts';
import { countPredictions, trainNaiveBayes } from './naive-bayes.ts';
import { processCount, type QuickstartHooks, type QuickstartOptions } from './options.ts';
import type { Division } from './sites.ts';

/** Plans of the federations (with the adapter, of a head alone), and of trainings alone, at a site and on pooled rows. */
export interface Plans {
  readonly federated: Plan;
  /** Null where the task has no head. */
  readonly head: Plan | null;
  readonly local: Plan;
  readonly pooled: Plan;
}

/** Rows, their division and where everything lies. */
export interface Setting {
  readonly options: QuickstartOptions;
  readonly hooks: QuickstartHooks;
  readonly folder: RunFolder;
  readonly baseFolder: string;
  readonly division: Division;
  readonly train: readonly TaskRow[];
  readonly test: readonly TaskRow[];
  readonly task: BoundTask;
  readonly metric: MetricName;
  readonly compute: ComputeChoice;
}

/** Both federations, one after the other, through the same processes; a head alone that is the adapter itself runs once. */
export async function runFederations(
  { hooks, folder, baseFolder, division, compute, metric }: Setting,
  plans: Plans,
): Promise<{ readonly federated: FederationOutcome; readonly head: FederationOutcome | null }> {
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
        metric,
        coordinatorFolder: folder.coordinator(name),
        clientsFolder: folder.clients(name),
        onListening: (url) =>
          hooks.log(`${label}: coordinator at ${url}, ${sites.length} sites in processes of their own`),
        onEncoded: (name, { truncatedCount, droppedCount }) => {
          const left = droppedCount === 0 ? '' : `, ${droppedCount} of them left out`;
          if (truncatedCount > 0) hooks.log(`${label}: ${truncatedCount} rows of ${name} cut for their length${left}`);
        },
        onStep: (stepsDone, published) => {
          const score = published?.metrics?.[metric] ?? null;
          const note = published === null ? '' : `round ${published.roundIndex + 1} of ${of.rounds.count}`;
          const shown = `${metricFacts[metric].title} ${metricText(metric, score)}`;
          progress.update(stepsDone, score === null ? note : `${note}, held-out ${shown}`);
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
    const federated = await run('federated adapter', 'adapter', plans.federated);
    if (plans.head === null) return { federated, head: null };
    const isSame = plans.head === plans.federated;
    const head = isSame ? federated : await run('federated head alone', 'head', plans.head);
    return { federated, head };
  } finally {
    await federations.close();
  }
}

/** Trainings without a federation, and the test scores of what the federations published. */
export async function runLearners(
  { options, hooks, folder, baseFolder, division, test, compute, metric }: Setting,
  plans: Plans,
  federated: FederationOutcome,
  head: FederationOutcome | null,
) {
  const { sites } = division;
  const train = (name: string, plan: Plan, of: typeof sites): LearningJob => {
    const rowCount = of.reduce((sum, site) => sum + site.train.length, 0);
    const trainFiles = of.map((site) => folder.site(site.name, 'train.jsonl'));
    return { name, plan, task: { kind: 'train', trainFiles, rowCount } };
  };
  const evaluate = (name: string, plan: Plan, parameters: Float32Array): LearningJob => {
    return { name, plan, task: { kind: 'evaluate', parameters } };
  };
  const jobs: LearningJob[] = [
    train('pooled rows', plans.pooled, sites),
    ...sites.map((site) => train(`${site.name} alone`, plans.local, [site])),
    evaluate('test of the federated adapter', plans.federated, federated.adapter),
    ...(plans.head === null || head === null ? [] : [evaluate('test of the federated head', plans.head, head.adapter)]),
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
      processCount: processCount(options),
      baseFolder,
      testFile: folder.testFile,
      testGroups,
      heldOutFiles: sites.flatMap(({ name, heldOut }) =>
        heldOut.length === 0 ? [] : [folder.site(name, 'held-out.jsonl')],
      ),
      compute,
      metric,
      signal: hooks.signal,
      onStep: (stepsDone, job) => progress.update(stepsDone, job),
    });
    const [pooled, ...others] = outcomes;
    const headTest = head === null ? null : (others.pop() ?? null);
    const federatedTest = others.pop();
    assert(pooled !== undefined && federatedTest !== undefined, 'every job has an outcome');
    return { pooled, local: others, federatedTest, headTest };
  } finally {
    progress.finish();
  }
}

/**
 * Counts of the best that words without their order give, by site and, last, of test rows of nobody; null where they have no answer to the task.
 * Trained on all rows, those included that sites hold out: the baseline gets what there is.
 */
export function bagOfWords({ division, train, test, task }: Setting): readonly EvaluationCounts[] | null {
  const owned = new Set(division.sites.flatMap(({ ownTest }) => ownTest));
  const groups = [
    ...division.sites.map(({ ownTest }) => ownTest),
    [...test.keys()].filter((index) => !owned.has(index)),
  ];
  const byGroup = <Content extends TaskRow>(
    rows: readonly Content[],
    count: (rows: readonly Content[], facts: CountFacts) => EvaluationCounts,
  ): EvaluationCounts[] => {
    const facts = { labels: division.labels, shape: task.shape };
    return groups.map((group) =>
      count(
        group.map((index) => rows[index]!),
        facts,
      ),
    );
  };
  if (areLabelled(train) && areLabelled(test)) {
    const model = trainNaiveBayes(train);
    return byGroup(test, (rows, facts) => countPredictions(model, rows, facts));
  }
  if (areTagged(train) && areTagged(test)) {
    const model = trainFrequentTags(train);
    return byGroup(test, (rows, facts) => countTags(model, rows, facts));
  }
  return null;
}

interface CountFacts {
  readonly labels: readonly string[];
  readonly shape: CountShape;
}

function areLabelled(rows: readonly TaskRow[]): rows is readonly Row[] {
  return rows.every((row) => 'label' in row);
}

function areTagged(rows: readonly TaskRow[]): rows is readonly TaggedRow[] {
  return rows.every((row) => 'tags' in row);
}
