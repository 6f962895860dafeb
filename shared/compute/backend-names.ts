/** The names of the back ends, apart from what loads them: options and messages need no engine. */

/** The back ends, the fastest first. */
export const backendNames = ['node-gpu', 'node', 'native', 'wasm', 'cpu'] as const;

/** Name of a back end. */
export type BackendName = (typeof backendNames)[number];
