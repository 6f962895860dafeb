/** A terminal that keeps what is written, with a clock that tests move. */
import type { Terminal } from '../../../shared/command-line/context.ts';

/** The kept text and the settings of the terminal. */
export interface FakeTerminal extends Terminal {
  readonly output: string[];
  readonly errors: string[];
  /** Moves the clock. */
  pass(milliseconds: number): void;
}

/** A fresh terminal, not interactive unless asked for. */
export function fakeTerminal({ interactive = false, columns = 80 } = {}): FakeTerminal {
  let now = 1000;
  const output: string[] = [];
  const errors: string[] = [];
  return {
    output,
    errors,
    writeOutput: (text) => void output.push(text),
    writeError: (text) => void errors.push(text),
    interactive,
    columns: () => columns,
    nowMs: () => now,
    pass: (milliseconds) => {
      now += milliseconds;
    },
  };
}
