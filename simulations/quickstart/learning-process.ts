/**
 * A process that trains without a federation (one site alone, or all rows pooled) and evaluates on test rows. Training goes in stretches that are
 * as long as the rounds of the federation, through the same function and with the same start, settings and learning rates, so the only
 * difference to a federation is that nobody averages.
 */
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { assert } from '../../shared/core/assert.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import { encodeRows } from '../../shared/data/encode.ts';
import { readRows } from '../../shared/data/rows.node.ts';
import { readBaseFiles } from '../../shared/model/load.node.ts';
import { baseModelFrom } from '../../shared/model/load.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { type Classifier, createClassifier } from '../../shared/training/classifier.ts';
import { evaluate, evaluateCounts } from '../../shared/training/evaluate.ts';
import type { EvaluationCounts } from '../../shared/training/metrics.ts';
import { trainLocally } from '../../shared/training/train.ts';
import type { CurvePoint, FromLearner, TestGroups, ToLearner } from './messages.ts';
import { type ParentLink, serveParent } from './processes.ts';

/** A plan and base, ready to train. */
interface Workshop {
  readonly plan: Plan;
  readonly classifier: Classifier;
  encode(path: string): Promise<readonly EncodedExample[]>;
  readonly test: readonly EncodedExample[];
  readonly testGroups: TestGroups;
  readonly heldOut: readonly EncodedExample[];
}

/** Points of a curve, the last after the last round: a picture needs no more, and every point costs a pass over the held-out rows. */
const curvePointsMax = 4;

let workshop: Workshop | null = null;

async function open(
  { plan, baseFolder, testFile, testGroups, heldOutFiles, compute }: Extract<ToLearner, { type: 'open' }>,
  parent: ParentLink<FromLearner>,
): Promise<void> {
  const backend = await useBackend(compute.backend, compute);
  const { model, tokenizer } = await baseModelFrom(await readBaseFiles(baseFolder));
  const { labels, pooling, lengthMax } = plan.task;
  const adapter = parseAdapter(plan.adapter, model.description);
  const classifier = createClassifier({ base: model, adapter, labels, pooling, padId: tokenizer.padId });
  const encode = async (path: string) => encodeRows(await readRows(path), { tokenizer, labels, lengthMax }).examples;
  const heldOut = (await Promise.all(heldOutFiles.map(encode))).flat();
  const opened = { plan, classifier, encode, test: await encode(testFile), testGroups, heldOut };
  workshop = opened;
  const sizes = { trainable: classifier.layout.dim, frozen: model.description.parameterCount };
  parent.send({ type: 'opened', backend: backend.name, ...sizes });
}

async function train(
  { plan, classifier, encode, heldOut }: Workshop,
  { trainFiles, stepsPerRound }: Extract<ToLearner, { type: 'train' }>,
  parent: ParentLink<FromLearner>,
): Promise<Float32Array> {
  const examples = (await Promise.all(trainFiles.map(encode))).flat();
  const { localEpochs: _, ...training } = plan.training;
  let parameters = classifier.initialise(plan.training.seed);
  const stride = Math.ceil(plan.rounds.count / curvePointsMax);
  for (let round = 0; round < plan.rounds.count; round++) {
    const trained = await trainLocally({
      classifier,
      start: parameters,
      examples,
      configuration: { ...training, localSteps: stepsPerRound },
      seed: plan.training.seed + round,
      round: { index: round, count: plan.rounds.count },
      onProgress: ({ step }) => parent.send({ type: 'progress', stepsDone: round * stepsPerRound + step }),
    });
    parameters = trained.parameters;
    if (heldOut.length === 0 || (plan.rounds.count - round - 1) % stride !== 0) continue;
    const { accuracy, loss } = await evaluate({ classifier, parameters, examples: heldOut });
    const point: CurvePoint = { round: round + 1, accuracy, loss };
    parent.send({ type: 'curve', point });
  }
  return parameters;
}

/** Counts of every group of test rows, in their order. */
async function test({ classifier, test, testGroups }: Workshop, parameters: Float32Array): Promise<EvaluationCounts[]> {
  const counts: EvaluationCounts[] = [];
  for (const group of testGroups) {
    const examples = group.map((index) => test[index]!);
    counts.push(await evaluateCounts({ classifier, parameters, examples }));
  }
  return counts;
}

serveParent<ToLearner, FromLearner>(async (message, parent) => {
  if (message.type === 'quit') return true;
  if (message.type === 'open') {
    await open(message, parent);
    return false;
  }
  assert(workshop !== null, 'a learning process is opened first');
  const startedMs = performance.now();
  const parameters = message.type === 'train' ? await train(workshop, message, parent) : message.parameters;
  const counts = await test(workshop, parameters);
  parent.send({ type: 'done', counts, seconds: (performance.now() - startedMs) / 1000 });
  return false;
});
