/**
 * How a command ends.
 *
 * | code | meaning | thrown |
 * |---|---|---|
 * | 0 | done, or help or version shown | nothing |
 * | 1 | failed: network, storage, a refused round, a bug, or interrupted | any other error |
 * | 2 | wrong use: unknown command or option, a broken plan, checkpoint or data file | `UsageError`, `FormatError`, commander's own errors |
 */
import { CommanderError } from 'commander';
import { InvariantError } from '../core/assert.ts';
import { errorMessage, FederationError, FormatError, UsageError } from '../core/errors.ts';

/** Exit codes by meaning. */
export const exitCodes = { done: 0, failed: 1, wrongUse: 2 } as const;

/** One of {@link exitCodes}. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The exit code for something thrown. Commander throws also for help and version that were asked for, which are no failure. */
export function exitCodeOf(thrown: unknown): ExitCode {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.wrongUse;
  return thrown instanceof UsageError || thrown instanceof FormatError ? exitCodes.wrongUse : exitCodes.failed;
}

/** What is said about something thrown: the message, with `verbose` also stacks and causes. Empty when commander said it already. */
export function explain(thrown: unknown, verbose: boolean): string {
  if (thrown instanceof CommanderError) return '';
  const lines = [`tributary: ${errorMessage(thrown)}`];
  if (thrown instanceof InvariantError) {
    lines.push(
      'This is a bug in Tributary. Please report it with the command that you ran and the output of --verbose.',
    );
  } else if (!(thrown instanceof FederationError) && !verbose) {
    lines.push('Run the command again with --verbose to see where this happened.');
  }
  if (verbose) lines.push(...stacks(thrown));
  return `${lines.join('\n')}\n`;
}

/** The error as part of a JSON document: a kebab-case code that programs may rely on, and the message. */
export function errorDocument(thrown: unknown): {
  readonly error: { readonly code: string; readonly message: string };
} {
  const code =
    thrown instanceof FederationError
      ? thrown.code
      : thrown instanceof CommanderError
        ? thrown.code.replace('commander.', 'command-line-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
        : thrown instanceof InvariantError
          ? 'bug'
          : 'failed';
  return { error: { code, message: errorMessage(thrown) } };
}

function stacks(thrown: unknown): string[] {
  const lines: string[] = [];
  for (let error = thrown; error instanceof Error; error = error.cause) {
    lines.push(`${lines.length === 0 ? '' : 'caused by '}${error.stack ?? error.message}`);
  }
  return lines;
}
