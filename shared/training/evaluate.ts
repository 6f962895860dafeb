/** Evaluation of parameters on examples: counts that merge over sites, and metrics. */
import { tensor1d, tidy } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import { seededRandom } from '../core/random.ts';
import { batchOf, sortedBatches } from '../data/batches.ts';
import type { EncodedExample } from '../data/encode.ts';
import type { Classifier } from './classifier.ts';
import { computeFeatures, gatherFeatures } from './features.ts';
import { countScores, type EvaluationCounts, type Metrics, mergeCounts, metricsOf } from './metrics.ts';
import { nameTensors, splitFlat } from './parameters.ts';
import { nextTurn } from './turn.ts';

/** What {@link evaluateCounts} and {@link evaluate} need. */
export interface EvaluationOptions {
  readonly classifier: Classifier;
  /** `[dim]` in layout order; not changed. */
  readonly parameters: Float32Array;
  readonly examples: readonly EncodedExample[];
  /** Examples per forward pass, default 32; changes speed and memory only. */
  readonly batchSize?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly exampleCount: number }) => void;
  readonly signal?: AbortSignal;
}

/** Metrics of `parameters` on `examples`. @throws the reason of `signal` when it aborts. */
export async function evaluate(options: EvaluationOptions): Promise<Metrics> {
  return metricsOf(await evaluateCounts(options));
}

/** Counts of `parameters` on `examples`, for pooling over sites. @throws the reason of `signal` when it aborts. */
export async function evaluateCounts(options: EvaluationOptions): Promise<EvaluationCounts> {
  const { classifier, parameters, examples, batchSize = 32, onProgress, signal } = options;
  const { layout, labels } = classifier;
  assert(parameters.length === layout.dim, `there are ${parameters.length} parameters, the layout has ${layout.dim}`);
  if (classifier.isHeadAlone) await computeFeatures(classifier, examples, signal);
  const tensors = tidy(() => splitFlat(tensor1d(parameters), layout));
  const named = nameTensors(tensors, layout);
  const mode = { training: false, random: seededRandom(0) };
  const parts: EvaluationCounts[] = [];
  let done = 0;
  try {
    for (const indices of sortedBatches(
      examples.map(({ ids }) => ids.length),
      batchSize,
    )) {
      signal?.throwIfAborted();
      const rows = indices.map((index) => examples[index]!);
      const logits = tidy(() =>
        classifier.isHeadAlone
          ? classifier.score(named, gatherFeatures(classifier, rows))
          : classifier.logits(named, batchOf(rows, classifier.padId, classifier.lengthMax), mode),
      );
      const scores = await logits.data();
      logits.dispose();
      parts.push(
        countScores(
          scores,
          rows.map(({ targets }) => targets[0]!),
          labels.length,
        ),
      );
      done += rows.length;
      onProgress?.({ done, exampleCount: examples.length });
      await nextTurn();
    }
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
  return mergeCounts(parts, labels.length);
}
