/**
 * What is trained for a task, and with which values it starts, from the description of a base alone: no tensor of the base is loaded, so the
 * coordinator computes the same bytes as every client without a back end.
 */
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import type { BaseDescription } from '../model/base-model.ts';
import type { Task } from '../plan/task.ts';
import { headUsesName } from '../update/federated-layout.ts';
import { type AdapterLayout, layoutOf, type TensorSpecification } from '../update/layout.ts';
import { bindTask } from './tasks/registry.ts';
import type { LabelBlock } from './tasks/task.ts';

/** What the start of an adapter needs of its method: a part of `TaskAdapter`. */
export interface AdapterStart {
  readonly tensors: readonly TensorSpecification[];
  initialise(specification: TensorSpecification, random: SeededRandom): Float32Array;
  readonly sideBySide?: readonly string[];
}

/** Standard deviation of the head's start values (Devlin 2019 uses the same for its classifier). */
const headDeviation = 0.02;

/**
 * The layout of an adapter for a task: the adapter's tensors in their order, then, where the task has a head, `head.kernel` `[hidden, outputs]` and
 * `head.bias` `[outputs]`, as its `head` says after `head.hidden.kernel` and `head.hidden.bias`, or without bias. Several tasks have heads
 * `heads.NAME`, which weigh in a federation by the examples of their task: whoever has none of a task leaves its head alone.
 * @throws UsageError `bad-plan` when adapters that stand side by side have no heads, `nothing-to-train` when neither the method nor the task has anything to train.
 */
export function taskLayout(
  { tensors, sideBySide }: Pick<AdapterStart, 'tensors' | 'sideBySide'>,
  { hiddenSize }: Pick<BaseDescription, 'hiddenSize'>,
  task: Task,
): AdapterLayout {
  const { readout } = bindTask(task);
  if (sideBySide !== undefined) requireHeads(sideBySide, task);
  if (readout.kind === 'vocabulary') {
    if (tensors.length > 0) return layoutOf([...tensors]);
    throw new UsageError(
      'nothing-to-train',
      `the task ${task.kind} has no head, so the adapter method none has nothing to train; choose another method`,
    );
  }
  const linear = (name: string, outSize: number, hasBias = true): TensorSpecification[] => [
    { name: `${name}.kernel`, shape: [hiddenSize, outSize], aggregationClass: 'mean', decays: true },
    ...(hasBias ? [{ name: `${name}.bias`, shape: [outSize], aggregationClass: 'mean', decays: false } as const] : []),
  ];
  if (readout.blocks !== undefined) return layoutOf([...tensors, ...headsOf(readout.blocks, hiddenSize)]);
  const { hidden, bias } = ('head' in task ? task.head : undefined) ?? {};
  return layoutOf([
    ...tensors,
    ...(hidden === undefined ? [] : linear('head.hidden', hiddenSize)),
    ...linear('head', readout.outputCount, bias ?? true),
  ]);
}

/** Adapters side by side have a head each. */
function requireHeads(names: readonly string[], task: Task): void {
  const tasks = task.kind === 'several' ? task.tasks.map(({ name }) => name) : null;
  if (tasks?.join() === names.join()) return;
  const found = tasks === null ? `the kind ${task.kind}` : `the tasks ${tasks.join(', ')}`;
  throw new UsageError(
    'bad-plan',
    `task: adapters in parallel have a head each: the kind must be several, with tasks named as the members in their order (${names.join(', ')}), found ${found}`,
  );
}

function headsOf(blocks: readonly LabelBlock[], hiddenSize: number): TensorSpecification[] {
  const weighed = blocks.flatMap(({ name, size }, countIndex): TensorSpecification[] => {
    const shared = { aggregationClass: 'count-weighted', countName: headUsesName, countIndex } as const;
    return [
      { name: `heads.${name}.kernel`, shape: [hiddenSize, size], decays: true, ...shared },
      { name: `heads.${name}.bias`, shape: [size], decays: false, ...shared },
    ];
  });
  return [...weighed, { name: headUsesName, shape: [blocks.length], aggregationClass: 'count', decays: false }];
}

/** Start values `[dim]` of a seed: identity for the adapter, small normal numbers for the head's kernel, zero for its bias. */
export function initialValues(layout: AdapterLayout, adapter: AdapterStart, seed: number): Float32Array {
  const values = new Float32Array(layout.dim);
  const random = seededRandom(seed, 'initialise');
  for (const tensor of layout.tensors)
    values.set(initialTensor(tensor, adapter, random.fork(tensor.name)), tensor.offset);
  return values;
}

function initialTensor(
  tensor: AdapterLayout['tensors'][number],
  adapter: AdapterStart,
  random: SeededRandom,
): Float32Array {
  const part = /^(?:head|head\.hidden|heads\.[^.]+)\.(kernel|bias)$/.exec(tensor.name)?.[1];
  if (part === 'bias' || tensor.name === headUsesName) return new Float32Array(tensor.size);
  if (part === 'kernel') return Float32Array.from({ length: tensor.size }, () => headDeviation * random.normal());
  const values = adapter.initialise(tensor, random);
  assert(
    values.length === tensor.size,
    `${tensor.name} has ${tensor.size} values, its initialisation ${values.length}`,
  );
  return values;
}
