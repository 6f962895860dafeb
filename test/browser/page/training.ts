/** A few steps of training with the client's own learner, on the base that ships, for comparison between back ends. */

import type { PreparedLearning } from '../../../client/learner.ts';
import { taskLearner } from '../../../client/task-learner.ts';
import type { BackendName } from '../../../shared/compute/backend-names.ts';
import { viewsOf } from '../../../shared/data/row-fields.ts';
import { describeFiles } from '../../../shared/model/load.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { readBaseFiles } from '../stand-ins/load.ts';

/** Methods that are trained on every back end. */
export const trainedMethods = [
  { method: 'lora', rank: 4 },
  { method: 'bottleneck', reductionFactor: 8 },
] as const;

/** What a training came to. */
export interface Trained {
  readonly delta: Float32Array;
  readonly meanLoss: number;
}

const rows = Array.from({ length: 8 }, (_, index) => {
  const [label, text] =
    index % 2 === 0 ? ['calm', `a quiet walk by the water, number ${index}`] : ['wild', `storm ${index} and thunder`];
  return { text: text!, label: label!, line: index + 1 };
});

/** Loads the base on a back end and prepares training of a method. */
export async function prepareTraining(
  backend: BackendName,
  adapter: (typeof trainedMethods)[number],
): Promise<PreparedLearning> {
  const files = await readBaseFiles('/files/shared/model/pretrained/tributary-tiny-decoder');
  const plan = parsePlan(
    {
      format: 'tributary-plan-1',
      name: 'in the browser',
      base: { digest: describeFiles(files).digest },
      task: { labels: ['calm', 'wild'], pooling: 'last', lengthMax: 12 },
      adapter,
      training: { localSteps: 3, batchSize: 4, learningRate: 0.01 },
      rounds: { count: 1, quorum: 1 },
    },
    'the page',
  );
  return taskLearner({ train: viewsOf(rows), heldOut: viewsOf([]), backend }).prepare(plan, files);
}

/** Trains for the plan's steps from the start that every back end has. */
export async function trainPrepared(learning: PreparedLearning): Promise<Trained> {
  const start = await learning.initialise!(1);
  const { signal } = new AbortController();
  return learning.train({ start, frozen: null, roundIndex: 0, signal, onProgress: () => undefined });
}
