/** Stands in for `node:path` in pages: what tests join are paths of the page's server. */

/** Joins parts with one slash between them. */
export function join(...parts: readonly string[]): string {
  return parts.join('/').replaceAll(/\/+/g, '/');
}
