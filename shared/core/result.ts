/**
 * Results as values. Code that judges a peer's message returns a `Result`: a fault of somebody else is data, not an exception.
 */

/** The outcome of something that may be refused: `ok` with a value, or not `ok` with an error value. */
export type Result<Value, Failure> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: Failure };

/** Wraps a value as a success. */
export function succeed<Value>(value: Value): { readonly ok: true; readonly value: Value } {
  return { ok: true, value };
}

/** Wraps an error value as a refusal. */
export function refuse<Failure>(error: Failure): { readonly ok: false; readonly error: Failure } {
  return { ok: false, error };
}
