/** A learner on a random encoder and random texts: training alone, as long as it is asked for, here or in a thread. */
import type { LearnerMaker } from '../../client/learning-thread/thread-learner.node.ts';
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import type { BackendName } from '../../shared/compute/backend-names.ts';
import { memorySource } from '../../shared/data/example-source.ts';
import { networkFrom } from '../../shared/model/load.ts';
import { defaultTraining } from '../../shared/training/configuration.ts';
import { createTaskModel } from '../../shared/training/task-model.ts';
import { trainLocally } from '../../shared/training/train.ts';
import { randomExamples, stepLabels } from './measured-step.ts';
import { randomEncoderFiles, type StepShape } from './random-encoder.ts';

/** What is trained, with what, and how long. */
export interface HeartbeatTraining extends StepShape {
  readonly backend: BackendName | 'auto';
  readonly threads: number;
  readonly steps: number;
}

/** Makes the learner. */
export const createLearner: LearnerMaker<HeartbeatTraining> = async ({ backend, threads, steps, ...shape }, tell) => {
  const examples = randomExamples(shape);
  return {
    exampleCount: examples.length,
    prepare: async () => {
      const { name } = await useBackend(backend, { threads });
      tell({ about: 'backend', name });
      const base = networkFrom(randomEncoderFiles(shape));
      const adapter = parseAdapter({ method: 'bottleneck', size: shape.rank }, base.description);
      const task = { kind: 'classification', labels: stepLabels, pooling: 'first', lengthMax: shape.sequence } as const;
      const model = createTaskModel({ base, adapter, task });
      return {
        baseDigest: base.description.digest,
        layout: model.layout,
        heldOutCount: 0,
        initialise: async (seed) => model.initialise(seed),
        train: ({ start, onProgress, signal }) =>
          trainLocally({
            model,
            start,
            source: memorySource(examples),
            configuration: { ...defaultTraining, localEpochs: undefined, localSteps: steps, batchSize: shape.batch },
            seed: 4,
            onProgress: ({ step, stepCount, loss }) => onProgress({ stepsDone: step, stepCount, loss }),
            signal,
          }),
        evaluate: () => Promise.reject(new Error('this learner evaluates nothing')),
        dispose: () => base.dispose(),
      };
    },
  };
};
