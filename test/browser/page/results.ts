/** What a page tells the runner. */

/** One check. */
export interface CheckResult {
  readonly name: string;
  /** What is wrong; null when nothing is. */
  readonly failure: string | null;
}

/** What became of a page's work: checks, or why there were none. */
export type PageResult =
  | { readonly kind: 'run'; readonly device: string | null; readonly checks: readonly CheckResult[] }
  | { readonly kind: 'not-run'; readonly reason: string };

/** Runs one check after the other; a check passes by returning. */
export async function runChecks(
  checks: readonly (readonly [name: string, check: () => Promise<void> | void])[],
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const [name, check] of checks) {
    try {
      await check();
      results.push({ name, failure: null });
    } catch (thrown) {
      results.push({ name, failure: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) });
    }
  }
  return results;
}
