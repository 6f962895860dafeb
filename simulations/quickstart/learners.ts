/**
 * Everything that is trained or measured without a federation, as jobs that a few learning processes work off: the adapter alone at each site, the
 * adapter on pooled rows, and test scores of what federations published.
 */
import { assert } from '../../shared/core/assert.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import type { MetricName } from '../../shared/training/metrics.ts';
import { localStepCount } from '../../shared/training/train.ts';
import type { ComputeChoice, CurvePoint, FromLearner, TestGroups, ToLearner } from './messages.ts';
import type { RunningProcess } from './processes.ts';
import { startProcess } from './processes.ts';

/** One piece of work. The heaviest jobs should come first. */
export interface LearningJob {
  readonly name: string;
  readonly plan: Plan;
  readonly task:
    | { readonly kind: 'train'; readonly trainFiles: readonly string[]; readonly rowCount: number }
    | { readonly kind: 'evaluate'; readonly parameters: Float32Array };
}

/** What a job gives back. */
export interface LearningOutcome {
  /** Counts by test group. */
  readonly counts: readonly EvaluationCounts[];
  readonly curve: readonly CurvePoint[];
  readonly seconds: number;
  readonly backend: string;
  readonly trainable: number;
  readonly frozen: number;
}

/** What {@link runJobs} needs. */
export interface LearnersOptions {
  readonly jobs: readonly LearningJob[];
  readonly processCount: number;
  readonly baseFolder: string;
  readonly testFile: string;
  readonly testGroups: TestGroups;
  readonly heldOutFiles: readonly string[];
  readonly compute: ComputeChoice;
  /** The metric of curves. */
  readonly metric: MetricName;
  readonly signal: AbortSignal;
  /** Training steps of all jobs so far, and the job that moved. */
  onStep(stepsDone: number, job: string): void;
}

/** Steps that a job trains where every row is one example. */
export function stepsOf({ plan, task }: LearningJob): number {
  return task.kind === 'train' ? localStepCount(plan.training, task.rowCount) * plan.rounds.count : 0;
}

/** Works off all jobs; outcomes stand in the order of the jobs. @throws the first failure of a process, after all were stopped. */
export async function runJobs(options: LearnersOptions): Promise<LearningOutcome[]> {
  const { jobs, processCount, signal } = options;
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const waiting = [...jobs.entries()];
  const outcomes: LearningOutcome[] = [];
  const stepsByJob = jobs.map(() => 0);
  const work = async (worker: number): Promise<void> => {
    const learner = startLearner({ ...options, signal: either }, worker, (index, stepsDone) => {
      stepsByJob[index] = stepsDone;
      const sum = stepsByJob.reduce((total, steps) => total + steps, 0);
      options.onStep(sum, jobs[index]!.name);
    });
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, job] = next;
      outcomes[index] = await learner.run(index, job);
    }
    await learner.quit();
  };
  const workers = Array.from({ length: Math.min(processCount, jobs.length) }, (_, worker) => work(worker));
  try {
    await Promise.all(workers);
  } catch (thrown) {
    // The other workers end with this reason; nobody may be left behind.
    failure.abort(thrown);
    await Promise.allSettled(workers);
    throw thrown;
  }
  return outcomes;
}

/** One process; it opens anew when a job has another plan than the one before. */
function startLearner(
  { baseFolder, testFile, testGroups, heldOutFiles, compute, metric, signal }: LearnersOptions,
  worker: number,
  onStep: (jobIndex: number, stepsDone: number) => void,
) {
  let answer = Promise.withResolvers<FromLearner>();
  let jobIndex = -1;
  let curve: CurvePoint[] = [];
  let openPlan: Plan | null = null;
  let facts: Pick<LearningOutcome, 'backend' | 'trainable' | 'frozen'> | null = null;
  const child: RunningProcess<ToLearner> = startProcess<ToLearner, FromLearner>({
    entry: 'learning-process',
    name: `the learning process ${worker + 1}`,
    signal,
    onMessage: (message) => {
      if (message.type === 'progress') onStep(jobIndex, message.stepsDone);
      else if (message.type === 'curve') curve.push(message.point);
      else answer.resolve(message);
    },
  });
  /** The answer, or the reason why there is none. */
  const ask = async (message: ToLearner): Promise<FromLearner> => {
    answer = Promise.withResolvers();
    child.send(message);
    const left = child.ended.then((): never => {
      throw new FederationError('process-died', 'a learning process ended without an answer');
    });
    return Promise.race([answer.promise, left]);
  };
  return {
    run: async (index: number, { plan, task }: LearningJob): Promise<LearningOutcome> => {
      if (openPlan !== plan) {
        const files = { baseFolder, testFile, testGroups, heldOutFiles };
        const opened = await ask({ type: 'open', plan, ...files, compute, metric });
        assert(opened.type === 'opened', 'opening is answered');
        facts = opened;
        openPlan = plan;
      }
      [jobIndex, curve] = [index, []];
      const done = await ask(
        task.kind === 'train'
          ? { type: 'train', trainFiles: task.trainFiles }
          : { type: 'evaluate', parameters: task.parameters },
      );
      assert(done.type === 'done' && facts !== null, 'a job is answered');
      const { backend, trainable, frozen } = facts;
      return { counts: done.counts, seconds: done.seconds, curve, backend, trainable, frozen };
    },
    quit: async (): Promise<void> => {
      child.send({ type: 'quit' });
      await child.ended;
    },
  };
}
