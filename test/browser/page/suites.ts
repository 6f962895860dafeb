/**
 * The suites that a browser runs unchanged: the same files as in Node, so that bytes, hashes, masks and signatures are the same in both. Left out
 * is what asks Node's own cryptography for a second opinion, replaces modules, reads the repository's folders, or takes minutes without native
 * cryptography: a whole masked round is compared with Node's by {@link checkRound}.
 */
import { said } from '../../shared/secure-aggregation/said.ts';
import { strict as assert } from '../stand-ins/assert.ts';

/** Loads all suites, which describe themselves to mocha. */
export async function describeSuites(): Promise<void> {
  await import('../../shared/crypto/hash.test.ts');
  await import('../../shared/crypto/key-agreement.test.ts');
  await import('../../shared/crypto/key-derivation.test.ts');
  await import('../../shared/crypto/key-stream.test.ts');
  await import('../../shared/crypto/secret-box.test.ts');
  await import('../../shared/crypto/secret-sharing.test.ts');
  await import('../../shared/secure-aggregation/contribution.test.ts');
  await import('../../shared/secure-aggregation/mask.test.ts');
  await import('../../shared/secure-aggregation/quantise.test.ts');
  await import('../../shared/secure-aggregation/threshold.test.ts');
  await import('../../shared/protocol/blob-reference.test.ts');
  await import('../../shared/protocol/canonical.test.ts');
  await import('../../shared/protocol/codec.test.ts');
  await import('../../shared/protocol/enrolment-code.test.ts');
  await import('../../shared/protocol/envelope.test.ts');
  await import('../../shared/protocol/handshake.test.ts');
  await import('../../shared/protocol/round-params.test.ts');
  await import('../../shared/protocol/signed.test.ts');
  await import('../../shared/protocol/version-record.test.ts');
  await import('../../shared/update/layout.test.ts');
  await import('../../shared/update/training-start.test.ts');
  await import('../../shared/update/upload.test.ts');
  await import('../../shared/update/vector.test.ts');
}

/** A masked round of four says the same, byte for byte, as it did in Node, where a hash of it was taken. */
export function checkRound(saidInNode: string): void {
  assert.equal(said(), saidInNode);
}
