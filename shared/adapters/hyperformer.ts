/**
 * Adapters written by a shared network (Karimi Mahabadi 2021): tasks, layers and positions have vectors, and what adapts a sublayer is generated
 * from them, so that tasks teach each other through the network and are kept apart by their vectors. The equation of A stands in
 * `hypernetwork.ts`; it reads h `[batch, sequence, hidden]` and its result is added, h' = h + A(h), at the end of both halves of a block.
 *
 * `generators: shared` is HyperFormer++ (one generator, positions have vectors), `perSublayer` HyperFormer. Three ways to name the task:
 * by one of `tasks`; by weights over them, z = Σ α_i z_i (interpolation, for a task in between; the generated weights are not interpolated
 * by that); or `instance`, z = ψ(mean of the tokens of h), one adapter for each example (Ivison and Peters 2022, Hyperdecoders).
 * The pass may name another task than the configuration (`AdapterContext.task`).
 *
 * Vectors of tasks are of the class `count-weighted`: a client that did not train a task leaves its vector alone.
 */
import {
  add,
  cast,
  div,
  expandDims,
  mean,
  mul,
  reshape,
  slice,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableLinear } from '../compute/products.ts';
import { assert } from '../core/assert.ts';
import type { SeededRandom } from '../core/random.ts';
import type { BaseDescription, Sublayer } from '../model/base-model.ts';
import { choiceField, numberField, sectionField, textField, wholeField } from '../plan/fields.ts';
import { type Problem, shown } from '../plan/problems.ts';
import type { TensorSpecification } from '../update/layout.ts';
import { type ActivationName, activationNames } from './activations.ts';
import {
  applyGenerated,
  generateAdapter,
  generatorTensors,
  type HypernetworkSizes,
  type NamedTensors,
  sourceOf,
  sourceTensors,
} from './hypernetwork.ts';
import { normalValues, oneValues, zeroValues } from './initial-values.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { chooseLayers, type LayerChoice, layerFields, parseSettings, refuseSettings } from './settings.ts';
import { sublayerChange } from './sublayer-change.ts';
import { tokenMask } from './token-mask.ts';

/** Weights over tasks by name. */
type TaskChoice = string | Readonly<Record<string, number>>;

/** Settings of `hyperformer` with defaults filled in. */
export interface HyperformerConfiguration extends LayerChoice {
  /** One generator for both halves of a block (default), or one for each. */
  readonly generators: 'shared' | 'perSublayer';
  /** Names of the tasks with a vector. Default: the only one, `task`. */
  readonly tasks: readonly string[];
  /** The task of a pass that names none: a name, weights by name, or `instance`. Default: the first. */
  readonly task: TaskChoice;
  /** Width of the generated bottleneck as hidden size / factor. Default 32. */
  readonly reductionFactor: number;
  /** Width of the vectors of tasks, layers and positions. Default 64. */
  readonly embeddingSize: number;
  /** Inner and outer width of the map from vectors to the generator's input. Default 128 and 64. */
  readonly projectionHidden: number;
  readonly projectionSize: number;
  /** σ. Default `gelu_new`. */
  readonly activation: ActivationName;
  /**
   * `identity` (default): what generates γ and β starts at zero, and with that the whole adapter. `published`: it starts as the rest does, with
   * N(0, 0.01²), near identity.
   */
  readonly initialisation: 'identity' | 'published';
}

const sizeMax = 65_536;
const taskError = 'instance, the name of a task, or weights of at least 0 by name that sum to 1';
const schema = sectionField({
  generators: z._default(choiceField(['shared', 'perSublayer']), 'shared'),
  tasks: z._default(z.array(textField(100), { error: 'a list of names of tasks' }), ['task']),
  task: z.optional(
    z.union([z.string(), z.record(z.string(), numberField({ atLeast: 0, atMost: 1 }))], { error: taskError }),
  ),
  reductionFactor: z._default(numberField({ above: 0, atMost: sizeMax }), 32),
  embeddingSize: z._default(wholeField(1, sizeMax), 64),
  projectionHidden: z._default(wholeField(1, sizeMax), 128),
  projectionSize: z._default(wholeField(1, sizeMax), 64),
  activation: z._default(choiceField(activationNames), 'gelu_new'),
  initialisation: z._default(choiceField(['identity', 'published']), 'identity'),
  ...layerFields,
});

function parse(value: unknown, base: BaseDescription): HyperformerConfiguration {
  const settings = parseSettings('hyperformer', schema, value);
  const problems: Problem[] = [];
  const { chosen, others } = chooseLayers(settings, base, problems);
  const { tasks, task = tasks[0] ?? '' } = others;
  const repeated = tasks.findIndex((name, index) => tasks.indexOf(name) !== index || /[.\s]/.test(name));
  if (tasks.length === 0 || repeated !== -1) {
    const sentence = `must be a list of different names without dots and blanks, found ${shown(tasks)}`;
    problems.push({ path: 'tasks', sentence });
  }
  if (task !== 'instance' && weightsOver(tasks, task) === null) {
    problems.push({ path: 'task', sentence: `must be ${taskError} (${tasks.join(', ')}), found ${shown(task)}` });
  }
  if (problems.length > 0) refuseSettings('hyperformer', problems);
  return { ...others, task, ...chosen };
}

/** Weights in the order of `tasks`; null where `task` names others, or the weights do not sum to 1. */
function weightsOver(tasks: readonly string[], task: TaskChoice): readonly number[] | null {
  const byName = typeof task === 'string' ? { [task]: 1 } : task;
  if (Object.keys(byName).some((name) => !tasks.includes(name))) return null;
  const weights = tasks.map((name) => byName[name] ?? 0);
  const total = weights.reduce((left, right) => left + right, 0);
  return Math.abs(total - 1) < 1e-6 ? weights : null;
}

const sublayers: readonly Sublayer[] = ['attention', 'feedForward'];
const prefix = 'hypernetwork';
const countName = `${prefix}.uses`;

function sizesOf(configuration: HyperformerConfiguration, { hiddenSize }: BaseDescription): HypernetworkSizes {
  const { reductionFactor, embeddingSize, projectionHidden, projectionSize } = configuration;
  const width = Math.max(1, Math.floor(hiddenSize / reductionFactor));
  return { hiddenSize, width, embeddingSize, projectionHidden, projectionSize };
}

function generatorOf({ generators }: HyperformerConfiguration, sublayer: Sublayer): string {
  return generators === 'shared' ? 'generator' : `generator.${sublayer}`;
}

function layout(base: BaseDescription, configuration: HyperformerConfiguration): readonly TensorSpecification[] {
  const { tasks, task, layers, generators, embeddingSize } = configuration;
  const sizes = sizesOf(configuration, base);
  const isShared = generators === 'shared';
  const names = isShared ? ['generator'] : sublayers.map((sublayer) => generatorOf(configuration, sublayer));
  const vectors = (name: string, count: number) => ({ name, shape: [count, embeddingSize], decays: false });
  const instance =
    task === 'instance'
      ? [
          {
            name: 'instance.kernel',
            shape: [base.hiddenSize, embeddingSize],
            decays: true,
            learningRateFactor: 1 / base.hiddenSize,
          },
          { name: 'instance.bias', shape: [embeddingSize], decays: false },
        ]
      : [];
  const shared = [
    ...instance,
    vectors('layers', layers.length),
    ...(isShared ? [vectors('positions', sublayers.length)] : []),
    ...sourceTensors(sizes, isShared ? 3 : 2),
    ...names.flatMap((name) => generatorTensors(name, sizes)),
  ].map((tensor) => ({ ...tensor, name: `${prefix}.${tensor.name}`, aggregationClass: 'mean' }) as const);
  if (task === 'instance') return shared;
  const ofTasks: TensorSpecification[] = tasks.map((name, countIndex) => ({
    name: `${prefix}.tasks.${name}`,
    shape: [embeddingSize],
    decays: false,
    ...(tasks.length === 1
      ? { aggregationClass: 'mean' }
      : { aggregationClass: 'count-weighted', countName, countIndex }),
  }));
  const counts: TensorSpecification = {
    name: countName,
    shape: [tasks.length],
    aggregationClass: 'count',
    decays: false,
  };
  return [...ofTasks, ...(tasks.length === 1 ? [] : [counts]), ...shared];
}

function initialise(
  { name, shape }: TensorSpecification,
  { initialisation }: HyperformerConfiguration,
  random: SeededRandom,
): Float32Array {
  if (name === countName || (name.endsWith('.bias') && name !== `${prefix}.source.norm.bias`)) return zeroValues(shape);
  if (name.endsWith('source.norm.gain')) return oneValues(shape);
  if (name.endsWith('source.norm.bias')) return zeroValues(shape);
  const isVector = /\.(layers|positions|tasks\.[^.]+)$/.test(name);
  if (isVector) return normalValues(shape, 1, random);
  const isSource = name.includes('.source.') || name.includes('.instance.');
  if (isSource) return normalValues(shape, 1 / Math.sqrt(shape[0]!), random);
  const closes = /\.(gain|bias)\.kernel$/.test(name);
  return closes && initialisation === 'identity' ? zeroValues(shape) : normalValues(shape, 0.01, random);
}

/** z `[1, t]` of the named task, or `[batch, t]` of the instances in `states`. */
function taskVectors(
  named: NamedTensors,
  states: Tensor3D,
  { tasks, task: configured }: HyperformerConfiguration,
  context: AdapterContext,
): Tensor2D {
  const { task = configured } = context;
  if (task === 'instance')
    return trainableLinear(
      pooled(states, tokenMask(context, states)),
      named<Tensor2D>('instance.kernel'),
      named<Tensor1D>('instance.bias'),
    );
  const weights = weightsOver(tasks, task);
  assert(weights !== null, `the task ${shown(task)} is none of ${tasks.join(', ')}`);
  const parts = weights.flatMap((weight, index) =>
    weight === 0 ? [] : [mul(named<Tensor1D>(`tasks.${tasks[index]!}`), weight) as Tensor1D],
  );
  return expandDims(
    parts.reduce((left, right) => add(left, right)),
    0,
  );
}

/** Says once in a pass how many examples trained each task. */
function countTasks(
  exampleCount: number,
  { tasks, task: configured }: HyperformerConfiguration,
  { task = configured, observe }: AdapterContext,
): void {
  if (task === 'instance' || tasks.length === 1) return;
  observe?.(countName, tensor1d((weightsOver(tasks, task) ?? []).map((weight) => (weight > 0 ? exampleCount : 0))));
}

/** Mean over the tokens that are no padding, `[batch, hidden]`. */
function pooled(states: Tensor3D, mask: Tensor2D | undefined): Tensor2D {
  if (mask === undefined) return mean(states, 1);
  const weights: Tensor3D = expandDims(cast(mask, 'float32'), 2);
  return div(sum(mul(states, weights), 1), sum(weights, 1));
}

/** The method `hyperformer`. */
export const hyperformer: AdapterMethod<HyperformerConfiguration> = {
  name: 'hyperformer',
  parse,
  layout,
  initialise,
  hooks: (base, configuration, context) => {
    const { layers, generators, activation } = configuration;
    const sizes = sizesOf(configuration, base);
    const named = <Kind extends Tensor>(name: string): Kind => tensorOf<Kind>(context, `${prefix}.${name}`);
    const row = (name: string, index: number): Tensor2D =>
      slice(named<Tensor2D>(name), [index, 0], [1, sizes.embeddingSize]);
    let isCounted = false;
    return {
      lowestLayerIndex: Math.min(...layers),
      ...sublayerChange(({ layerIndex, sublayer }, output) => {
        const place = layers.indexOf(layerIndex);
        if (place === -1) return undefined;
        if (!isCounted) countTasks(output.shape[0], configuration, context);
        isCounted = true;
        const task = taskVectors(named, output, configuration, context);
        const position = generators === 'shared' ? [row('positions', sublayers.indexOf(sublayer))] : [];
        const source = sourceOf(named, task, [row('layers', place), ...position]);
        const adapter = generateAdapter(named, generatorOf(configuration, sublayer), source, sizes);
        return reshape(applyGenerated(output, adapter, activation), output.shape);
      }),
    };
  },
};
