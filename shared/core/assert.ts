/** Assertions stay on in production: a broken invariant stops the work at once instead of spoiling a round. */

/** Thrown by {@link assert}: a bug of ours, never a fault of a peer or of the environment. Nobody catches it. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * States what must hold here.
 * @throws InvariantError when `condition` is false.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
