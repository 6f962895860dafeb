/**
 * `adapters`: one training step of every adapter method, relative to a step of the frozen base (forward, and back to the word vectors, to which one
 * vector is added that trains) in the same run, beside the ratio of their arithmetic: a method is within its bar where its step takes at most
 * twice that ratio. And what placement and sparsity save: adapters in the upper half of the layers alone, and mixtures by how many of their experts
 * they ask, so large that experts are most of the step. `mixture-0-of-8` has all experts and asks none, and shares are those of what comes on top of
 * it, their part of the optimiser among it, whose own arithmetic counts for nothing in the ratio.
 *
 * Steps of the base and of a method are taken in turns, so that a busy machine slows both; the fastest of each counts.
 *
 * Flags: `--backend --threads --layers --width --heads --feed-forward --sequence --batch --rank --steps --only`.
 */
import { add } from '@tensorflow/tfjs-core';
import { type BoundAdapter, methodNames, parseAdapter } from '../../shared/adapters/registry.ts';
import { useBackend } from '../../shared/compute/backend.ts';
import type { BaseModel } from '../../shared/model/base-model.ts';
import { networkFrom } from '../../shared/model/load.ts';
import type { Task } from '../../shared/plan/task.ts';
import { createTaskModel, type TaskAdapter, type TaskModel } from '../../shared/training/task-model.ts';
import { stepArithmetic } from './adapter-arithmetic.ts';
import { type Benchmark, type BenchmarkFlags, integerFlag, machineName } from './benchmark.ts';
import { backendFlag, measureSteps, randomExamples, stepLabels } from './measured-step.ts';
import { randomEncoderFiles, type StepShape } from './random-encoder.ts';

type Settings = { readonly method: string; readonly [setting: string]: unknown };

/** A mixture that has all experts and asks none. */
const idleMixture = 'mixture-0-of-8';

/** What is measured by name: every method, and what shows placement and sparsity. */
function contenders({ rank, layers, width }: StepShape): ReadonlyMap<string, Settings> {
  const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck', size: rank }));
  const further: Readonly<Record<string, object>> = {
    bottleneck: { size: rank },
    lora: { rank },
    dora: { rank },
    mixture: { size: rank },
    stack: { members },
    fuse: { members },
    average: { members },
    gate: { members: members.slice(0, 1), penalty: 0.01 },
    split: { members, at: [8] },
    'batch-split': { members },
    parallel: { members },
  };
  // A head alone has its states kept: it takes no step through the base.
  const methods = methodNames.filter((method) => method !== 'none');
  const top = { method: 'bottleneck', size: rank, topLayers: Math.max(1, Math.floor(layers / 2)) };
  const mixture = { method: 'mixture', size: Math.max(8 * rank, width), experts: 8, placement: 'houlsby' };
  return new Map<string, Settings>([
    ...methods.map((method) => [method, { method, ...further[method] }] as const),
    ['bottleneck-top-half', top],
    [idleMixture, mixture],
    ['mixture-1-of-8', { ...mixture, choices: 1 }],
    ['mixture-2-of-8', { ...mixture, choices: 2 }],
    ['mixture-8-of-8', { ...mixture, choices: 8 }],
  ]);
}

/** Measures all methods. */
export const bench: Benchmark = async (flags, progress) => {
  const backend = await useBackend(backendFlag(flags), { threads: integerFlag(flags, 'threads', 1) });
  const shape = shapeOf(flags);
  const steps = integerFlag(flags, 'steps', 5);
  const base = networkFrom(randomEncoderFiles(shape));
  const frozen = bareModel(base, shape);
  const results: Record<string, number | string | boolean> = {};
  const missed: string[] = [];
  const figures = new Map<string, { readonly ratio: number; readonly arithmetic: number }>();
  const examples = randomExamples(shape);
  for (const [name, settings] of wantedOf(flags, contenders(shape))) {
    const split = settings.method === 'batch-split' ? { sizes: halvesOf(shape.batch) } : {};
    const isIdle = name === idleMixture;
    const bound = parseAdapter({ ...settings, ...split }, base.description);
    const adapter = isIdle ? idle(bound, base) : bound;
    const room = shape.sequence - (adapter.virtualTokens ?? 0);
    const heads = adapter.sideBySide ?? [];
    const texts = examples.map(({ ids, targets }) => ({
      ids: ids.subarray(0, room),
      targets:
        heads.length === 0 ? targets : Int32Array.from(heads, (_, head) => targets[0]! + head * stepLabels.length),
    }));
    const model = modelOf(base, adapter, room);
    const own = { baseMs: Number.POSITIVE_INFINITY, ms: Number.POSITIVE_INFINITY };
    for (let turn = 0; turn < 2; turn++) {
      own.baseMs = Math.min(own.baseMs, (await measureSteps(frozen, texts, steps)).fastestMs);
      own.ms = Math.min(own.ms, (await measureSteps(model, texts, steps)).fastestMs);
    }
    const read = { ...shape, sequence: room };
    const ratio = own.ms / own.baseMs;
    const arithmetic = isIdle ? 1 : stepArithmetic(adapter, base.description, read) / bareArithmetic(base, read);
    const bar = 2 * arithmetic;
    figures.set(name, { ratio, arithmetic });
    Object.assign(results, {
      [`${name}.ms`]: rounded(own.ms),
      [`${name}.ratio`]: rounded(ratio),
      [`${name}.arithmetic`]: rounded(arithmetic),
    });
    if (ratio > bar && !isIdle) missed.push(name);
    progress(`${name}: ${rounded(ratio)} of the base's ${own.baseMs.toFixed(0)} ms, arithmetic ${rounded(arithmetic)}`);
  }
  base.dispose();
  const [whole, top] = [figures.get('bottleneck'), figures.get('bottleneck-top-half')];
  if (whole !== undefined && top !== undefined) results.topHalfOverAll = rounded(top.ratio / whole.ratio);
  const [none, every] = [figures.get(idleMixture), figures.get('mixture-8-of-8')];
  if (none !== undefined && every !== undefined) {
    for (const count of [1, 2]) {
      const some = figures.get(`mixture-${count}-of-8`);
      if (some !== undefined)
        results[`mixture${count}Of8OverAll`] = rounded((some.ratio - none.ratio) / (every.ratio - none.ratio));
    }
  }
  results.aboveTwiceTheArithmetic = missed.join(' ');
  return { name: 'adapters', machine: machineName(), backend: backend.name, threads: backend.threads, results };
};

function shapeOf(flags: BenchmarkFlags): StepShape {
  return {
    layers: integerFlag(flags, 'layers', 4),
    width: integerFlag(flags, 'width', 256),
    heads: integerFlag(flags, 'heads', 4),
    feedForward: integerFlag(flags, 'feed-forward', 1024),
    sequence: integerFlag(flags, 'sequence', 64),
    batch: integerFlag(flags, 'batch', 16),
    rank: integerFlag(flags, 'rank', 16),
  };
}

function wantedOf({ only }: BenchmarkFlags, all: ReadonlyMap<string, Settings>): [string, Settings][] {
  if (only === undefined) return [...all];
  const names = String(only).split(',');
  const unknown = names.find((name) => !all.has(name));
  if (unknown !== undefined) {
    throw new RangeError(`--only must be some of ${[...all.keys()].join(', ')}, found ${JSON.stringify(unknown)}`);
  }
  return names.map((name) => [name, all.get(name)!]);
}

function halvesOf(count: number): number[] {
  const first = Math.floor(count / 2);
  return [first, count - first];
}

function modelOf(base: BaseModel, adapter: TaskAdapter, lengthMax: number): TaskModel {
  // All tokens are read: else methods that act token by token would be spared a part of the last layer that others compute.
  const shape = { pooling: 'mean', lengthMax } as const;
  const tasks = adapter.sideBySide?.map((name) => ({ name, labels: stepLabels }));
  const task: Task =
    tasks === undefined
      ? { kind: 'classification', labels: stepLabels, ...shape }
      : { kind: 'several', tasks, ...shape };
  return createTaskModel({ base, adapter, task });
}

/** The base with one trained vector on its word vectors: gradients run through all of it, and nothing else is computed. */
function bareModel(base: BaseModel, { width, sequence }: StepShape): TaskModel {
  const adapter: TaskAdapter = {
    tensors: [{ name: 'bare.vector', shape: [width], aggregationClass: 'mean', decays: false }],
    initialise: () => new Float32Array(width),
    hooks: ({ parameters }) => ({
      words: (states, mask) => ({ states: add(states, parameters.get('bare.vector')!), mask }),
    }),
  };
  return modelOf(base, adapter, sequence);
}

/** The tensors of `adapter`, which train and do nothing, beside bottlenecks of one unit at the same places: gradients go as far down. */
function idle(adapter: BoundAdapter, base: BaseModel): BoundAdapter {
  const small = parseAdapter({ method: 'bottleneck', size: 1, placement: 'houlsby' }, base.description);
  const own = new Set(small.tensors.map(({ name }) => name));
  return {
    ...adapter,
    tensors: [...small.tensors, ...adapter.tensors],
    initialise: (tensor, random) => (own.has(tensor.name) ? small : adapter).initialise(tensor, random),
    hooks: small.hooks,
  };
}

function bareArithmetic({ description }: BaseModel, shape: StepShape): number {
  const hooks: BoundAdapter['hooks'] = () => ({ words: (states, mask) => ({ states, mask }) });
  const bare = {
    method: 'none',
    configuration: { method: 'none' },
    tensors: [],
    initialise: () => new Float32Array(0),
    hooks,
  };
  return stepArithmetic(bare, description, shape);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
