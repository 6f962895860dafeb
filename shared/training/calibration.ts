/**
 * Temperature scaling (Guo 2017, section 4.2): scores are divided by one number that is fitted to rows nobody trained on, so that probabilities
 * say how often a prediction is right. What is predicted does not change.
 */
import { tidy } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import { type EvaluationCounts, mergeCounts, noCounts, startCounts } from './counts.ts';
import { type EvaluationOptions, eachBatch } from './evaluate.ts';
import type { Arranged, BoundTask } from './tasks/task.ts';

/** Bounds of a temperature, and how closely it is fitted (a factor). */
const temperatureMin = 1 / 64;
const temperatureMax = 64;
const precision = 1e-4;
/** Scores that are kept while a temperature is fitted, half a gigabyte of float32. */
const scoresMax = 2 ** 27;

/** Scores of one batch. */
interface ScoredBatch {
  readonly scores: Float32Array;
  readonly arranged: Arranged;
}

/**
 * The temperature with the least loss on `source`, from 1/64 to 64.
 * @throws UsageError `no-calibration` for language models, whose scores are too many to keep, and for more rows than fit.
 */
export async function fitTemperature(options: EvaluationOptions): Promise<number> {
  const { task } = options.model;
  const batches: ScoredBatch[] = [];
  let scoreCount = 0;
  await eachScores(options, async (batch) => {
    scoreCount += batch.scores.length;
    if (scoreCount > scoresMax)
      throw new UsageError('no-calibration', `--calibrate: at most ${scoresMax} scores are kept; give fewer rows`);
    batches.push(batch);
  });
  if (batches.length === 0) throw new UsageError('no-calibration', '--calibrate: there is no row to fit to');
  const lossAt = (temperature: number): number =>
    batches.reduce((sum, batch) => sum + countsAt(task, batch, temperature).lossSum, 0);
  return leastAt(lossAt);
}

/** Counts of `source` as it is and with scores divided by `temperature`. */
export async function countAtTemperature({
  temperature,
  ...options
}: EvaluationOptions & { readonly temperature: number }): Promise<{
  readonly plain: EvaluationCounts;
  readonly calibrated: EvaluationCounts;
}> {
  const { task } = options.model;
  let [plain, calibrated] = [noCounts(task.shape), noCounts(task.shape)];
  await eachScores(options, async (batch) => {
    plain = mergeCounts([plain, countsAt(task, batch, 1)], task.shape);
    calibrated = mergeCounts([calibrated, countsAt(task, batch, temperature)], task.shape);
  });
  return { plain, calibrated };
}

function countsAt(task: BoundTask, { scores, arranged }: ScoredBatch, temperature: number): EvaluationCounts {
  assert(task.count !== undefined, 'the task was asked for before');
  const counts = startCounts(task.shape);
  task.count(counts, temperature === 1 ? scores : scores.map((score) => score / temperature), arranged);
  return counts;
}

async function eachScores(options: EvaluationOptions, visit: (batch: ScoredBatch) => Promise<void>): Promise<void> {
  const { model } = options;
  const { kind } = model.task.task;
  if (model.task.count === undefined)
    throw new UsageError(
      'no-calibration',
      `--calibrate: the task ${kind} is measured by its perplexity and not calibrated`,
    );
  await eachBatch(options, async ({ parameters, scored, arranged }) => {
    const scores = tidy(() => model.scores(parameters, scored));
    const values = Float32Array.from(await scores.data());
    scores.dispose();
    await visit({ scores: values, arranged });
  });
}

/** Golden-section search (Kiefer 1953) over the logarithm; the loss has one minimum in 1 / temperature. */
function leastAt(lossAt: (temperature: number) => number): number {
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [Math.log(temperatureMin), Math.log(temperatureMax)];
  let left = high - ratio * (high - low);
  let right = low + ratio * (high - low);
  let [lossLeft, lossRight] = [lossAt(Math.exp(left)), lossAt(Math.exp(right))];
  while (high - low > precision) {
    if (lossLeft <= lossRight) {
      [high, right, lossRight] = [right, left, lossLeft];
      left = high - ratio * (high - low);
      lossLeft = lossAt(Math.exp(left));
    } else {
      [low, left, lossLeft] = [left, right, lossRight];
      right = low + ratio * (high - low);
      lossRight = lossAt(Math.exp(right));
    }
  }
  return Math.exp((low + high) / 2);
}
