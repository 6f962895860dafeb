/** The names of the back ends, apart from what loads them: options and messages need no engine. */

/** The back ends of Node, the fastest first: the order in which `auto` tries them. */
export const backendNames = ['node-gpu', 'webgpu', 'node', 'native', 'wasm', 'cpu'] as const;

/** Those of browsers. */
export const browserBackendNames = ['webgpu', 'webgl', 'wasm', 'cpu'] as const;

/** Name of a back end. */
export type BackendName = (typeof backendNames | typeof browserBackendNames)[number];
