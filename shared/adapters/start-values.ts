/** Training that goes on from an adapter that exists: a second stage, a new task on an old adapter, a federation after a training alone. */
import { UsageError } from '../core/errors.ts';
import type { Task } from '../plan/task.ts';
import { type AdapterStart, initialValues } from '../training/initial-adapter.ts';
import type { AdapterLayout } from '../update/layout.ts';
import { unflatten } from '../update/vector.ts';
import type { AdapterDocument } from './adapter-document.ts';

/** What {@link startValuesFrom} needs. */
export interface StartOptions {
  readonly layout: AdapterLayout;
  readonly adapter: AdapterStart;
  readonly task: Task;
  /** For the head, where it starts anew. */
  readonly seed: number;
}

/**
 * Start values `[dim]` in the order of `layout`: those of the adapter in `document`, and those of its head where the task is the same; else
 * the head starts from the seed.
 * @throws UsageError `wrong-start` naming the first tensor that the document lacks, or has in another shape.
 */
export function startValuesFrom(
  document: AdapterDocument,
  { layout, adapter, task, seed }: StartOptions,
): Float32Array {
  const values = unflatten(document.layout, document.parameters);
  const shapes = new Map(document.layout.tensors.map(({ name, shape }) => [name, shape.join()]));
  const keepsHead = JSON.stringify(document.task) === JSON.stringify(task);
  const start = initialValues(layout, adapter, seed);
  for (const { name, shape, offset } of layout.tensors) {
    const isHead = name.startsWith('head.');
    if (isHead && !keepsHead) continue;
    if (shapes.get(name) !== shape.join()) {
      if (isHead) continue;
      const found = shapes.has(name) ? `has it as [${shapes.get(name)}]` : 'has none';
      throw new UsageError(
        'wrong-start',
        `the adapter to start from does not fit: ${name} must be [${shape.join()}], it ${found}; its method is ${document.adapter.method}, ` +
          'and its settings must be the same',
      );
    }
    start.set(values.get(name)!, offset);
  }
  return start;
}
