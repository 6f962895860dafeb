/** A learner without a model, whose training does what its script says. */
import type { LearnerMaker } from '../../../client/learning-thread/thread-learner.node.ts';
import { fixedLearner } from '../fixed-learner.ts';

/** What training does: throw outside of any promise (in round 0 alone), or wait until it is aborted. */
export interface Script {
  readonly does: 'die' | 'die-first' | 'wait';
  readonly dim: number;
}

export const createLearner: LearnerMaker<Script> = async ({ does, dim }) => {
  const fixed = fixedLearner({ dim, delta: () => new Float32Array(dim).fill(1) });
  return {
    ...fixed,
    prepare: async (...given) => {
      const prepared = await fixed.prepare(...given);
      return {
        ...prepared,
        train: (options) => {
          const { roundIndex, onProgress, signal } = options;
          if (does === 'die-first' && roundIndex > 0) return prepared.train(options);
          return new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason as Error));
            onProgress({ stepsDone: 1, stepCount: 2, loss: 1 });
            if (does === 'wait') return;
            setImmediate(() => {
              throw new Error('the engine broke');
            });
          });
        },
      };
    },
  };
};
