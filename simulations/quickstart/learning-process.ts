/**
 * A process that trains without a federation (one site alone, or all rows pooled) and evaluates on test rows. Training goes in stretches that are
 * as long as the rounds of the federation, through the same function and with the same start, settings and learning rates, so the only
 * difference to a federation is that nobody averages.
 */
import { parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import { assert } from '../../shared/core/assert.ts';
import type { EncodedExample } from '../../shared/data/encode.ts';
import { type ExampleSource, memorySource } from '../../shared/data/example-source.ts';
import { readRowsAs } from '../../shared/data/rows.node.ts';
import { loadBase } from '../../shared/model/load.node.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import { evaluate, evaluateCounts } from '../../shared/training/evaluate.ts';
import type { MetricName } from '../../shared/training/metrics.ts';
import { createTaskModel, type TaskModel } from '../../shared/training/task-model.ts';
import { localStepCount, trainLocally } from '../../shared/training/train.ts';
import { trainedCount } from '../../shared/update/layout.ts';
import type { CurvePoint, FromLearner, ToLearner } from './messages.ts';
import { type ParentLink, serveParent } from './processes.ts';

/** A plan and base, ready to train. */
interface Workshop {
  readonly plan: Plan;
  readonly model: TaskModel;
  readonly metric: MetricName;
  /** Examples of every row of a file, in its order. */
  encode(path: string): Promise<readonly (readonly EncodedExample[])[]>;
  /** Examples of every group of test rows. */
  readonly testGroups: readonly ExampleSource[];
  readonly heldOut: ExampleSource;
}

/** Points of a curve, the last after the last round: a picture needs no more, and every point costs a pass over the held-out rows. */
const curvePointsMax = 4;

let workshop: Workshop | null = null;

async function open(
  { plan, baseFolder, testFile, testGroups, heldOutFiles, compute, metric }: Extract<ToLearner, { type: 'open' }>,
  parent: ParentLink<FromLearner>,
): Promise<void> {
  const backend = await useBackend(compute.backend, compute);
  const { model: base, tokenizer } = await loadBase(baseFolder, { frozenWeights: compute.frozenWeights });
  const adapter = parseAdapter(plan.adapter, base.description);
  const model = createTaskModel({ base, adapter, task: plan.task, tokenizer });
  const encode = (path: string) =>
    readRowsAs(path, (view) => model.task.encode(model.task.rows.read(view, {}), tokenizer).examples);
  const heldOut = (await Promise.all(heldOutFiles.map(encode))).flat(2);
  const test = await encode(testFile);
  workshop = {
    plan,
    model,
    metric,
    encode,
    testGroups: testGroups.map((group) => memorySource(group.flatMap((index) => test[index]!))),
    heldOut: memorySource(heldOut),
  };
  const sizes = { trainable: trainedCount(model.layout), frozen: base.description.parameterCount };
  parent.send({ type: 'opened', backend: backend.name, ...sizes });
}

async function train(
  { plan, model, metric, encode, heldOut }: Workshop,
  { trainFiles }: Extract<ToLearner, { type: 'train' }>,
  parent: ParentLink<FromLearner>,
): Promise<Float32Array> {
  const source = memorySource((await Promise.all(trainFiles.map(encode))).flat(2));
  // Of examples, as sites count them: a long text of a language model is several.
  const stepsPerRound = localStepCount(plan.training, source.count);
  let parameters = model.initialise(plan.training.seed);
  const stride = Math.ceil(plan.rounds.count / curvePointsMax);
  for (let round = 0; round < plan.rounds.count; round++) {
    const trained = await trainLocally({
      model,
      start: parameters,
      source,
      configuration: plan.training,
      seed: plan.training.seed + round,
      round: { index: round, count: plan.rounds.count },
      onProgress: ({ step }) => parent.send({ type: 'progress', stepsDone: round * stepsPerRound + step }),
    });
    parameters = trained.parameters;
    if (heldOut.count === 0 || (plan.rounds.count - round - 1) % stride !== 0) continue;
    const metrics = await evaluate({ model, parameters, source: heldOut });
    const point: CurvePoint = { round: round + 1, score: metrics[metric], loss: metrics.loss };
    parent.send({ type: 'curve', point });
  }
  return parameters;
}

/** Counts of every group of test rows, in their order. */
async function test({ model, testGroups }: Workshop, parameters: Float32Array): Promise<EvaluationCounts[]> {
  const counts: EvaluationCounts[] = [];
  for (const source of testGroups) counts.push(await evaluateCounts({ model, parameters, source }));
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
