/** A learner that has learned already: what a round costs without training. */
import type { Learner } from '../../client/learner.ts';
import { benchmarkBaseDigest, benchmarkLayout } from './federation.ts';

/** A learner with this delta in every round. */
export function bareLearner(delta: Float32Array): Learner {
  return {
    exampleCount: 10,
    prepare: async () => ({
      baseDigest: benchmarkBaseDigest,
      layout: benchmarkLayout(delta.length),
      heldOutCount: 0,
      train: async () => ({ delta, exampleCount: 10, meanLoss: 0.5, seconds: 0 }),
      evaluate: () => Promise.reject(new Error('the plan of the benchmark evaluates nothing')),
      dispose: () => undefined,
    }),
  };
}
