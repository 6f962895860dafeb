/** An adapter that serves several tasks, bound to one of them: what a client of one task in a federation of many does. */
import { UsageError } from '../core/errors.ts';
import { nearest } from '../plan/nearest.ts';
import type { BoundAdapter } from './registry.ts';

/**
 * The same adapter for `task`, which takes the place of the configured one; without a task, the adapter itself.
 * @throws UsageError `bad-adapter-task` naming the tasks there are.
 */
export function withTask<Adapter extends Pick<BoundAdapter, 'configuration' | 'hooks'>>(
  adapter: Adapter,
  task: string | undefined,
): Adapter {
  if (task === undefined) return adapter;
  const known = tasksIn(adapter.configuration);
  if (!known.includes(task)) {
    const near = nearest(task, known);
    const hint = near === null ? '' : ` (did you mean ${near}?)`;
    const there = known.length === 0 ? 'this adapter has no tasks to choose from' : `one of ${known.join(', ')}${hint}`;
    throw new UsageError('bad-adapter-task', `the task of the adapter must be ${there}, found ${task}`);
  }
  return { ...adapter, hooks: (context) => adapter.hooks({ task, ...context }) };
}

/** The tasks that an adapter serves by name: those under `tasks` in a configuration and in its members. */
export function tasksIn(configuration: Readonly<Record<string, unknown>>): readonly string[] {
  const { tasks, members } = configuration;
  const own = Array.isArray(tasks) ? (tasks as readonly string[]) : [];
  const nested = Array.isArray(members) ? (members as readonly Readonly<Record<string, unknown>>[]) : [];
  return [...own, ...nested.flatMap(tasksIn)];
}
