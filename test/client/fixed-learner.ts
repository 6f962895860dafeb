/** A learner without a model: the base is one file, the adapter one tensor, and training adds what the test says. */
import type { LearnedUpdate, Learner } from '../../client/learner.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { readRange } from '../../shared/model/byte-source.ts';
import type { BaseFiles } from '../../shared/model/load.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { binaryCounts } from '../helpers/evaluation-counts.ts';

/** The base of every test federation. */
export const fixedBase: ReadonlyMap<string, Uint8Array> = new Map([['weights.bin', Uint8Array.of(7, 1, 7, 1)]]);

/** Its digest, as the learner computes it from what it is given. */
export function fixedBaseDigest(files: BaseFiles): Digest {
  return digestOf(
    ...[...files.values()].map((file) => (file instanceof Uint8Array ? file : readRange(file, 0, file.size))),
  );
}

/** The layout of an adapter with `dim` values. */
export const fixedLayout = (dim: number) =>
  layoutOf([{ name: 'head.bias', shape: [dim], aggregationClass: 'mean', decays: false }]);

/** What a coordinator starts from: the fixed base, and an adapter of `dim` zeros. */
export const fixedStart = (dim: number) => ({
  baseFiles: fixedBase,
  baseDigest: fixedBaseDigest(fixedBase),
  layout: fixedLayout(dim),
  initialAdapter: new Float32Array(dim),
});

/** What a fixed learner does. */
export interface FixedLearning {
  readonly dim: number;
  readonly exampleCount?: number;
  /** The delta of a round; it may wait for something, or throw. */
  readonly delta: (
    roundIndex: number,
    start: Float32Array,
    signal: AbortSignal,
  ) => Promise<Float32Array> | Float32Array;
}

/** Counts of ten rows of label 0, eight of them right. */
export const fixedCounts = binaryCounts(8, 10);

/** A learner that gives fixed deltas. */
export function fixedLearner({ dim, exampleCount = 10, delta }: FixedLearning): Learner {
  return {
    exampleCount,
    prepare: async (_plan, files) => ({
      baseDigest: fixedBaseDigest(files),
      layout: fixedLayout(dim),
      heldOutCount: fixedCounts.exampleCount,
      train: async ({ start, roundIndex, onProgress, signal }): Promise<LearnedUpdate> => {
        const values = await delta(roundIndex, start, signal);
        onProgress({ stepsDone: 1, stepCount: 1, loss: 0.5 });
        return { delta: values, exampleCount, meanLoss: 0.5, seconds: 0.25 };
      },
      evaluate: async () => fixedCounts,
      dispose: () => undefined,
    }),
  };
}
