/** A learner without a model, whose training does what its script says. */
import type { LearnerMaker } from '../../../client/learning-thread/thread-learner.node.ts';
import { fixedLearner } from '../fixed-learner.ts';

/** What training does: throw outside of any promise (in round 0 alone), wait until it is aborted, or charge its records for the round. */
export interface Script {
  readonly does: 'die' | 'die-first' | 'wait' | 'charge';
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
        train: async (options) => {
          const { roundIndex, onProgress, signal } = options;
          const charge = { recordCount: roundIndex, stepsPerRound: 3, noiseMultiplier: 2, numbers: 1 };
          if (does === 'charge')
            return { ...(await prepared.train(options)), charges: [...(options.charges ?? []), charge] };
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
