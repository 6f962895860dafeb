/** The values that a phase of a plan begins with: those of its seed, and in their places what earlier phases published. */
import { UsageError } from '../core/errors.ts';
import type { Task } from '../plan/task.ts';
import { type AdapterStart, initialValues } from '../training/initial-adapter.ts';
import type { AdapterLayout } from '../update/layout.ts';
import { unflatten } from '../update/vector.ts';

/** The adapter of an earlier phase, and the place that it takes: tensors that begin with `prefix`, empty for all. */
export interface EarlierAdapter {
  readonly phase: string;
  readonly prefix: string;
  readonly layout: AdapterLayout;
  /** `[layout.dim]`. */
  readonly values: Float32Array;
  readonly task: Task;
}

/** What {@link phaseStartValues} needs. */
export interface PhaseStartOptions {
  readonly layout: AdapterLayout;
  readonly adapter: AdapterStart;
  readonly task: Task;
  readonly seed: number;
  readonly earlier: readonly EarlierAdapter[];
}

/**
 * Start values `[dim]`. Adapters keep their values bit for bit; the head begins as the mean of the heads of those that are for the same task, or
 * anew where none is.
 * @throws UsageError `wrong-start` naming the phase and the first tensor that it lacks, or has in another shape.
 */
export function phaseStartValues({ layout, adapter, task, seed, earlier }: PhaseStartOptions): Float32Array {
  const start = initialValues(layout, adapter, seed);
  const sources = earlier.map((one) => ({
    ...one,
    tensors: unflatten(one.layout, one.values),
    shapes: new Map(one.layout.tensors.map(({ name, shape }) => [name, shape.join()])),
  }));
  const text = JSON.stringify(task);
  const alike = sources.filter((source) => JSON.stringify(source.task) === text);
  for (const { name, shape, offset, size } of layout.tensors) {
    if (isOfHead(name)) {
      const heads = alike.flatMap(({ tensors }) => tensors.get(name) ?? []);
      for (let index = 0; index < size && heads.length > 0; index++)
        start[offset + index] = heads.reduce((sum, head) => sum + head[index]!, 0) / heads.length;
      continue;
    }
    const source = sources.find(({ prefix }) => name.startsWith(prefix));
    if (source === undefined) continue;
    const own = name.slice(source.prefix.length);
    const values = source.tensors.get(own);
    if (values === undefined || source.shapes.get(own) !== shape.join()) {
      const found = values === undefined ? 'has none' : `has it as [${source.shapes.get(own)}]`;
      throw new UsageError(
        'wrong-start',
        `the adapter of phase ${source.phase} does not fit: ${own} must be [${shape.join()}], it ${found}; a phase that starts from another has its method and settings`,
      );
    }
    start.set(values, offset);
  }
  return start;
}

function isOfHead(name: string): boolean {
  return name.startsWith('head.') || name.startsWith('heads.');
}
