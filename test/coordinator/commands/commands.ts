/** Runs the coordinator's commands in this process, as the root of the command line does. */
import { register as registerAdapters } from '../../../coordinator/commands/adapters.ts';
import { register } from '../../../coordinator/commands.ts';
import { runCommandLine } from '../../../shared/command-line/program.ts';
import { fakeTerminal } from '../../shared/command-line/fake-terminal.ts';

/** How a command ended and what it wrote. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

const groups = [
  { commands: { coordinator: 'coordinator', invite: 'invite' }, load: async () => ({ register }) },
  { commands: { adapters: 'adapters' }, load: async () => ({ register: registerAdapters }) },
];

/** Runs one command to its end; `onLine` hears what it writes to standard error. */
export async function run(
  argv: readonly string[],
  { signal, onLine }: { readonly signal?: AbortSignal; readonly onLine?: (text: string) => void } = {},
): Promise<Ended> {
  const kept = fakeTerminal();
  const terminal = {
    ...kept,
    writeError: (text: string) => {
      kept.writeError(text);
      onLine?.(text);
    },
  };
  const code = await runCommandLine({
    groups,
    argv,
    version: '0',
    terminal,
    signal: signal ?? new AbortController().signal,
  });
  return { code, output: kept.output.join(''), errors: kept.errors.join('') };
}

/** Runs one command with `--json` and gives its document. */
export async function document(argv: readonly string[]): Promise<{ readonly code: number; readonly value: never }> {
  const { code, output } = await run([...argv, '--json']);
  return { code, value: JSON.parse(output) as never };
}

/** A command that goes on until it ends by itself or is interrupted. */
export interface Running {
  /** Resolves with the first line that matches; rejects when the command ends without one. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** As Ctrl+C. */
  interrupt(): void;
  readonly ended: Promise<Ended>;
}

/** Starts a command and does not wait for its end. */
export function start(argv: readonly string[]): Running {
  const controller = new AbortController();
  let text = '';
  let wake = Promise.withResolvers<void>();
  const onLine = (line: string): void => {
    text += line;
    wake.resolve();
    wake = Promise.withResolvers();
  };
  let isOver = false;
  const ended = run(argv, { signal: controller.signal, onLine }).finally(() => {
    isOver = true;
    wake.resolve();
  });
  return {
    ended,
    interrupt: () => controller.abort(new Error('interrupted')),
    line: async (pattern) => {
      for (;;) {
        const found = pattern.exec(text);
        if (found !== null) return found;
        if (isOver) throw new Error(`ended without ${pattern}: ${text}`);
        await wake.promise;
      }
    },
  };
}
