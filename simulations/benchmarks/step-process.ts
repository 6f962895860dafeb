/** A process that trains a problem as clients do, from the outside. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createChildren } from './children.ts';
import type { PassReport, ReadyReport, TrainingWay } from './step-child.ts';

/** A process that takes one order at a time. */
export interface StepProcess {
  readonly ready: ReadyReport;
  /** One pass over the texts; where they are one batch, one step. */
  pass(): Promise<PassReport>;
  leave(): Promise<void>;
}

/** Starts training on the problem in `folder`. */
export async function startTraining(folder: string, backend: string, way: TrainingWay): Promise<StepProcess> {
  const failures: string[] = [];
  const children = createChildren('step-child.ts', (detail) => failures.push(detail));
  const child = children.start([folder, backend, way.states, way.tokens]);
  const ended = gone(child);
  const heard = async <Report extends { readonly type: string }>(): Promise<Report> => {
    const report = await Promise.race([once(child, 'message'), ended]);
    if (report === null) throw new Error(failures[0] ?? 'a process ended without its report');
    return report[0] as Report;
  };
  const ready = await heard<ReadyReport>();
  return {
    ready,
    pass: () => {
      child.send('pass');
      return heard<PassReport>();
    },
    leave: () => children.leave(),
  };
}

async function gone(child: ChildProcess): Promise<null> {
  await once(child, 'close');
  return null;
}
