/** Where this runs. */

/** Whether this is Node, and not a browser. */
export function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined;
}
