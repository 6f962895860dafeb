/**
 * The engine's own cryptography where there is one. Nothing is imported, so bundlers for browsers see no Node module; where it is null,
 * portable implementations do the same work (decision 4).
 */

/** Node's `node:crypto`. */
export type EngineCrypto = ReturnType<typeof loadEngine>;

function loadEngine() {
  return globalThis.process?.getBuiltinModule?.('node:crypto');
}

/** The engine's cryptography, or null in browsers. */
export const engineCrypto: NonNullable<EngineCrypto> | null = loadEngine() ?? null;
