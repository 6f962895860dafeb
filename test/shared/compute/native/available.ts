/** Tests of the native engine where it is not there: not run, and never taken as passed. */
import { openEngine } from '../../../../shared/compute/native/engine.node.ts';
import { errorMessage } from '../../../../shared/core/errors.ts';

let reason: string | null | undefined;

/** Why the native engine does not work on this machine; null where it does. */
function whyNoNative(): string | null {
  if (reason === undefined) {
    try {
      openEngine({ threads: 1 }).dispose();
      reason = null;
    } catch (thrown) {
      reason = errorMessage(thrown);
    }
  }
  return reason;
}

/** Skips the test, or the tests of the hook's suite, where the native engine is not there: the totals count them as not run. */
export function requireNative(context: Mocha.Context): void {
  const why = whyNoNative();
  if (why === null) return;
  console.log(`      *** NOT RUN: ${why}`);
  context.skip();
}
