import { strict as assert } from 'node:assert';
import { FederationError, FormatError, StoreError, TransportError, UsageError } from '../../../shared/core/errors.ts';
import { errorOf, failureOf } from '../../../shared/core/failure.ts';

describe('failures between threads', () => {
  for (const Kind of [FederationError, FormatError, StoreError, TransportError, UsageError])
    it(`[FLR-1] our errors arrive as the same class, with code, message and context: ${Kind.name}`, () => {
      const error = errorOf(structuredClone(failureOf(new Kind('a-code', 'a message', { context: { line: 3 } }))));
      assert.ok(error instanceof Kind);
      assert.equal(error.constructor, Kind);
      assert.deepEqual([error.code, error.message, error.context], ['a-code', 'a message', { line: 3 }]);
    });

  it('[FLR-2] a bug arrives as an error that is none of ours, with the trace of where it was', () => {
    const bug = new TypeError('x is not a function');
    const error = errorOf(structuredClone(failureOf(bug)));
    assert.ok(!(error instanceof FederationError));
    assert.deepEqual([error.message, error.stack], [bug.message, bug.stack]);
    assert.equal(errorOf(failureOf('words')).message, 'words');
  });
});
