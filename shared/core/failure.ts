/** Errors on their way between threads: what is thrown on one side is thrown again on the other, as the same kind where it is one of ours. */
import { FederationError, FormatError, StoreError, TransportError, UsageError } from './errors.ts';

const classes = { FederationError, FormatError, StoreError, TransportError, UsageError } as const;

/** An error as plain values. A bug has its trace instead of a code. */
export type Failure =
  | {
      readonly kind: keyof typeof classes;
      readonly code: string;
      readonly message: string;
      readonly context: FederationError['context'];
    }
  | { readonly kind: 'bug'; readonly message: string; readonly trace: string };

/** What was thrown, as plain values. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof FederationError) {
    const { code, message, context } = thrown;
    return { kind: thrown.name as keyof typeof classes, code, message, context };
  }
  const { message, stack } = thrown instanceof Error ? thrown : new Error(String(thrown));
  return { kind: 'bug', message, trace: stack ?? message };
}

/** The error that {@link failureOf} was given, as far as it can be had again: a bug is an Error with the trace of where it happened. */
export function errorOf(failure: Failure): Error {
  if (failure.kind !== 'bug') {
    const { kind, code, message, context } = failure;
    return new classes[kind](code, message, { context });
  }
  const error = new Error(failure.message);
  error.stack = failure.trace;
  return error;
}
