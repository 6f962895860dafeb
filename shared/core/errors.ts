/**
 * Faults of the environment and of the user, as exceptions. Faults of a peer are values (`shared/protocol/violations.ts`); bugs of ours
 * are `InvariantError`. A message says what failed, what was expected, what was found, where, and what to do next; keys, tokens and data
 * never appear in one.
 */

/** Facts that go with an error, safe to print: no key, token, delta or data row. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | null>>;

/** Base of all errors of the environment: `code` is a kebab-case name that programs may rely on. */
export class FederationError extends Error {
  override readonly name: string = 'FederationError';
  readonly code: string;
  readonly context: ErrorContext;

  constructor(
    code: string,
    message: string,
    options: { readonly context?: ErrorContext; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.context = options.context ?? {};
  }
}

/** The user asked for something that cannot be: wrong option, broken plan, unreadable file. The command line exits with 2. */
export class UsageError extends FederationError {
  override readonly name = 'UsageError';
}

/** A file or message of a published format is broken: checkpoint, data row, plan, version record. */
export class FormatError extends FederationError {
  override readonly name = 'FormatError';
}

/** The network failed: connection lost, no answer in time, transfer refused. */
export class TransportError extends FederationError {
  override readonly name = 'TransportError';
}

/** Durable storage failed: database, blob file, disk. */
export class StoreError extends FederationError {
  override readonly name = 'StoreError';
}

/** Text of anything thrown, for logs and messages. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
