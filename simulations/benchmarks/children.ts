/** Child processes of a benchmark that do one kind of work: started, asked for their processor time, sent away. */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What every child understands beside its own orders. */
export type ChildOrder = 'cpu' | 'leave';
/** Its answer to `cpu`: processor time that it has used so far, user and system. */
export interface CpuReport {
  readonly type: 'cpu';
  readonly ms: number;
}

/** Processor time that this process has used so far, user and system, in milliseconds. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** In a child: answers `cpu`, and on `leave` runs `leave` and lets go of the parent. Whatever else it hears goes to `take`. */
export function obeyParent<Order>(options: {
  readonly leave?: () => void;
  readonly take?: (order: Order) => void;
}): void {
  process.on('message', (order: Order | ChildOrder) => {
    if (order === 'cpu') process.send?.({ type: 'cpu', ms: ownCpuMs() } satisfies CpuReport);
    else if (order === 'leave') {
      options.leave?.();
      process.disconnect();
    } else options.take?.(order as Order);
  });
}

/** Children of one kind. */
export interface Children {
  /** Starts one more. */
  start(words?: readonly string[]): ChildProcess;
  /** Processor time of all so far, in milliseconds. */
  cpuMs(): Promise<number>;
  /** Sends all away; resolves when they are gone. */
  leave(): Promise<void>;
  /** Ends what is still there, at once. */
  kill(): void;
}

/** Children that run `file`, a file beside this one; `onFailure` hears of one that ends badly. */
export function createChildren(file: string, onFailure: (detail: string) => void): Children {
  const program = fileURLToPath(new URL(file, import.meta.url));
  const children: ChildProcess[] = [];
  const cpuMsOf = (child: ChildProcess): Promise<number> =>
    new Promise((resolve) => {
      const hear = (report: { readonly type: string } | CpuReport): void => {
        if (report.type !== 'cpu' || !('ms' in report)) return;
        child.off('message', hear);
        resolve(report.ms);
      };
      child.on('message', hear);
      child.send('cpu' satisfies ChildOrder);
    });
  return {
    start: (words = []) => {
      const child = fork(program, [...words], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      child.on('exit', (code) => {
        if (code !== 0) onFailure(`a process of ${file} ended with code ${code}`);
      });
      children.push(child);
      return child;
    },
    cpuMs: async () => (await Promise.all(children.map(cpuMsOf))).reduce((sum, ms) => sum + ms, 0),
    leave: async () => {
      const gone = children.map((child) => once(child, 'exit'));
      for (const child of children) child.send('leave' satisfies ChildOrder);
      await Promise.all(gone);
    },
    kill: () => {
      for (const child of children) child.kill();
    },
  };
}
