/**
 * An adapter that serves several tasks, bound to one of them, as a client of one task in a federation of many does; or to weights over them, for a
 * task in between (Karimi Mahabadi 2021: vectors of tasks are interpolated).
 */
import { UsageError } from '../core/errors.ts';
import { nearest } from '../plan/nearest.ts';
import type { BoundAdapter } from './registry.ts';

/**
 * The same adapter for `task`, a name or weights by name such as `qa=0.3,nli=0.7`, in place of the configured one; without a task, the adapter
 * itself.
 * @throws UsageError `bad-adapter-task` naming the tasks there are, or what weights must be.
 */
export function withTask<Adapter extends Pick<BoundAdapter, 'configuration' | 'hooks'>>(
  adapter: Adapter,
  task: string | undefined,
): Adapter {
  if (task === undefined) return adapter;
  const known = tasksIn(adapter.configuration);
  const chosen = known.includes(task) ? task : (weightsIn(task) ?? task);
  const byName = typeof chosen === 'string' ? { [chosen]: 1 } : chosen;
  const unknown = Object.keys(byName).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const near = nearest(unknown, known);
    const hint = near === null ? '' : ` (did you mean ${near}?)`;
    const there = known.length === 0 ? 'this adapter has no tasks to choose from' : `one of ${known.join(', ')}${hint}`;
    throw new UsageError('bad-adapter-task', `the task of the adapter must be ${there}, found ${unknown}`);
  }
  const weights = Object.values(byName);
  const sum = weights.reduce((left, right) => left + right, 0);
  // Not above: a weight that is no number is refused too.
  if (!(Math.abs(sum - 1) < 1e-6 && weights.every((weight) => weight >= 0))) {
    const sentence = 'weights over tasks must be numbers of at least 0 that sum to 1, such as a=0.25,b=0.75';
    throw new UsageError('bad-adapter-task', `${sentence}, found ${task}`);
  }
  return { ...adapter, hooks: (context) => adapter.hooks({ task: chosen, ...context }) };
}

/** `a=0.3,b=0.7` as weights by name; null for a text that is none. A weight that is no number is NaN. */
function weightsIn(text: string): Readonly<Record<string, number>> | null {
  if (!text.includes('=')) return null;
  return Object.fromEntries(
    text.split(',').map((part) => {
      const at = part.lastIndexOf('=');
      const number = part.slice(at + 1).trim();
      return [part.slice(0, Math.max(at, 0)).trim(), number === '' ? Number.NaN : Number(number)];
    }),
  );
}

/** The tasks that an adapter serves by name: those under `tasks` in a configuration and in its members. */
export function tasksIn(configuration: Readonly<Record<string, unknown>>): readonly string[] {
  const { tasks, members } = configuration;
  const own = Array.isArray(tasks) ? (tasks as readonly string[]) : [];
  const nested = Array.isArray(members) ? (members as readonly Readonly<Record<string, unknown>>[]) : [];
  return [...own, ...nested.flatMap(tasksIn)];
}
