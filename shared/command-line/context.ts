/**
 * What every command gets: the one result, progress, log lines and the signal of Ctrl+C. Standard output carries the result only, as text or,
 * with `--json`, as exactly one JSON document; everything else goes to standard error.
 */
import type { Command } from 'commander';
import { assert } from '../core/assert.ts';
import type { Progress, ProgressOptions } from './progress.ts';
import { createProgress } from './progress.ts';

/** Where text goes and what time it is; the process in production, arrays in tests. */
export interface Terminal {
  writeOutput(text: string): void;
  writeError(text: string): void;
  /** Whether standard error is a terminal that a person watches. */
  readonly interactive: boolean;
  /** Width of the terminal in characters; asked at every line, because windows change. */
  columns(): number;
  nowMs(): number;
}

/** What a command may use of its surroundings. */
export interface CommandContext {
  /** Whether the user asked for `--json`. Commands rarely need it: {@link report} knows. */
  readonly json: boolean;
  /** Whether the user asked for `--verbose`. */
  readonly verbose: boolean;
  /** Aborted by Ctrl+C or a request to end. A command that ends orderly on it resolves; otherwise it throws the signal's reason. */
  readonly signal: AbortSignal;
  /**
   * Prints the result of the command, once: with `--json` the document (plain JSON values), otherwise the text.
   * @throws InvariantError on a second call.
   */
  report(document: unknown, text: string): void;
  /**
   * Prints the beginning of the text of the result, as it comes; {@link report} then gets the rest of it. With `--json` nothing is printed,
   * since the document comes as a whole.
   */
  reportPart(text: string): void;
  /** One line for people, on standard error. */
  log(line: string): void;
  /** Shows work that takes long, on standard error. */
  progress(options: ProgressOptions): Progress;
}

/** A file with commands: `register` adds them, with their options and actions, to the program. Heavy imports belong into the actions. */
export interface CommandModule {
  register(program: Command, context: CommandContext): void;
}

/** A context with what only the root of the command line may see. */
export interface RootContext extends CommandContext {
  /** Whether the result was printed. */
  reported(): boolean;
}

/** What {@link createContext} needs. */
export interface ContextOptions {
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly signal: AbortSignal;
}

/** A context that writes to `terminal`. */
export function createContext({ terminal, json, verbose, signal }: ContextOptions): RootContext {
  let reported = false;
  // A log line takes the place of a progress line that is being rewritten; the next state of the progress is drawn below it.
  let isLineOpen = false;
  const progressTerminal: Terminal = {
    ...terminal,
    writeError: (text) => {
      isLineOpen = !text.endsWith('\n');
      terminal.writeError(text);
    },
  };
  return {
    json,
    verbose,
    signal,
    report: (document, text) => {
      assert(!reported, 'a command reports one result');
      reported = true;
      const whole = json ? JSON.stringify(document) : text;
      terminal.writeOutput(whole.endsWith('\n') ? whole : `${whole}\n`);
    },
    reportPart: (text) => {
      assert(!reported, 'parts of a result come before it');
      if (!json && text !== '') terminal.writeOutput(text);
    },
    log: (line) => {
      terminal.writeError(`${isLineOpen ? '\r\u001b[K' : ''}${line}\n`);
      isLineOpen = false;
    },
    progress: (options) => createProgress(options, progressTerminal),
    reported: () => reported,
  };
}
