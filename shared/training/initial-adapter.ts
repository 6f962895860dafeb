/**
 * What is trained for a task, and with which values it starts, from the description of a base alone: no tensor of the base is loaded, so the
 * coordinator computes the same bytes as every client without a back end.
 */
import { assert } from '../core/assert.ts';
import { UsageError } from '../core/errors.ts';
import { type SeededRandom, seededRandom } from '../core/random.ts';
import type { BaseDescription } from '../model/base-model.ts';
import type { Task } from '../plan/task.ts';
import { type AdapterLayout, layoutOf, type TensorSpecification } from '../update/layout.ts';
import { bindTask } from './tasks/registry.ts';

/** What the start of an adapter needs of its method: a part of `TaskAdapter`. */
export interface AdapterStart {
  readonly tensors: readonly TensorSpecification[];
  initialise(specification: TensorSpecification, random: SeededRandom): Float32Array;
}

/** Standard deviation of the head's start values (Devlin 2019 uses the same for its classifier). */
const headDeviation = 0.02;

/**
 * The layout of an adapter for a task: the adapter's tensors in their order, then, where the task has a head, `head.kernel` `[hidden, outputs]` and
 * `head.bias` `[outputs]`, as its `head` says after `head.hidden.kernel` and `head.hidden.bias`, or without bias.
 * @throws UsageError `nothing-to-train` when neither the method nor the task has anything to train.
 */
export function taskLayout(
  { tensors }: Pick<AdapterStart, 'tensors'>,
  { hiddenSize }: Pick<BaseDescription, 'hiddenSize'>,
  task: Task,
): AdapterLayout {
  const { readout } = bindTask(task);
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
  const { hidden, bias } = ('head' in task ? task.head : undefined) ?? {};
  return layoutOf([
    ...tensors,
    ...(hidden === undefined ? [] : linear('head.hidden', hiddenSize)),
    ...linear('head', readout.outputCount, bias ?? true),
  ]);
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
  if (tensor.name === 'head.bias' || tensor.name === 'head.hidden.bias') return new Float32Array(tensor.size);
  if (tensor.name === 'head.kernel' || tensor.name === 'head.hidden.kernel')
    return Float32Array.from({ length: tensor.size }, () => headDeviation * random.normal());
  const values = adapter.initialise(tensor, random);
  assert(
    values.length === tensor.size,
    `${tensor.name} has ${tensor.size} values, its initialisation ${values.length}`,
  );
  return values;
}
