/**
 * The enrolment code: one string that an operator hands to a site. It says where the coordinator is, which key it has and which federation
 * it runs, and carries the one-time token. It is a secret until it is redeemed. The coordinator stores only the token's hash.
 *
 * `tributary-1.` and URL-safe base64 of canonical bytes, which end in four bytes of their SHA-256: a code that lost characters on the way is
 * recognised here, not by a confusing refusal later.
 */
import { concatBytes, equalBytes, fromBase64Url, toBase64Url } from '../core/bytes.ts';
import { UsageError } from '../core/errors.ts';
import type { Digest, FederationId } from '../core/ids.ts';
import { sha256 } from '../crypto/hash.ts';
import { isSoundPublicKey } from '../crypto/verify.ts';
import { decodeCanonical, encodeCanonical, raw } from './canonical.ts';
import { digest, federationId, maybe, oneOf, structure, text } from './canonical-compound.ts';

const codePrefix = 'tributary-1.';
const checksumBytes = 4;
const codeFormat = structure({
  url: text(1000),
  federationId,
  coordinatorKey: raw(32),
  token: raw(32),
  approval: oneOf(['automatic', 'manual']),
  consortium: maybe(digest),
});

/** What an enrolment code holds. */
export interface EnrolmentCode {
  /** Address of the coordinator, `https://…` or `http://…`. */
  readonly url: string;
  readonly federationId: FederationId;
  /** The coordinator's Ed25519 public key, 32 bytes, which the client pins. */
  readonly coordinatorKey: Uint8Array;
  /** 32 secret bytes, good once. */
  readonly token: Uint8Array;
  /** `automatic`: the token suffices. `manual`: the operator also compares the client's fingerprint. */
  readonly approval: 'automatic' | 'manual';
  /** Hash of the consortium whose certificates count, which the client pins; null where the coordinator vouches for clients. */
  readonly consortium: Digest | null;
}

/** The string of a code. */
export function formatEnrolmentCode(code: EnrolmentCode): string {
  const encoded = encodeCanonical(codeFormat, code);
  return codePrefix + toBase64Url(concatBytes(encoded, sha256(encoded).subarray(0, checksumBytes)));
}

/**
 * Parses a code; space around it is ignored.
 * @throws UsageError `bad-enrolment-code` when it is cut off, mistyped, or of another version. The message does not repeat the code.
 */
export function parseEnrolmentCode(found: string): EnrolmentCode {
  const trimmed = found.trim();
  const bad = (detail: string) =>
    new UsageError(
      'bad-enrolment-code',
      `the enrolment code is not usable: ${detail}; copy the whole line that \`tributary invite\` printed`,
    );
  if (!trimmed.startsWith(codePrefix)) throw bad(`expected it to begin with "${codePrefix}"`);
  let whole: Uint8Array;
  try {
    whole = fromBase64Url(trimmed.slice(codePrefix.length));
  } catch (thrown) {
    throw new UsageError('bad-enrolment-code', bad('it is cut off or holds a character that no code has').message, {
      cause: thrown,
    });
  }
  const encoded = whole.subarray(0, Math.max(0, whole.length - checksumBytes));
  if (!equalBytes(sha256(encoded).subarray(0, checksumBytes), whole.subarray(encoded.length))) {
    throw bad(`its ${trimmed.length} characters do not match its checksum`);
  }
  const decoded = decodeCanonical(codeFormat, encoded, 'enrolment code');
  if (!decoded.ok) throw bad(decoded.error.detail);
  const code = decoded.value;
  if (!/^https?:\/\//.test(code.url) || !URL.canParse(code.url))
    throw bad('its address is not of the form http(s)://host');
  if (!isSoundPublicKey(code.coordinatorKey)) throw bad("the coordinator's key is no sound Ed25519 key");
  return code;
}
