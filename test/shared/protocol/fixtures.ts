/** Identities from seeds and sample values for tests of the protocol. */
import { strict as assert } from 'node:assert';
import { fromHex, toHex } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest, FederationId, SessionId } from '../../../shared/core/ids.ts';
import type { Result } from '../../../shared/core/result.ts';
import { identityFromSeed } from '../../../shared/crypto/identity.ts';
import type { Violation, ViolationCode } from '../../../shared/protocol/violations.ts';

/** An identity whose seed is one byte, repeated. */
export const identityOf = (byte: number) => identityFromSeed(new Uint8Array(32).fill(byte));
/** 32 bytes of one value as a digest, and as other identifiers. */
export const digestOfByte = (byte: number) => byte.toString(16).padStart(2, '0').repeat(32) as Digest;
/** The federation of all tests. */
export const federationId = digestOfByte(0xfe) as string as FederationId;
/** Its session. */
export const sessionId = '5e'.repeat(16) as SessionId;
/** A client id that belongs to no key. */
export const strangerId = digestOfByte(0x77) as string as ClientId;
/** A time, in milliseconds since 1970. */
export const nowMs = 1_700_000_000_000;

/** The code of a refusal; fails when nothing was refused. */
export function codeOf(result: Result<unknown, Violation>): ViolationCode {
  assert.ok(!result.ok, 'nothing was refused');
  return result.error.code;
}

/** `bytes` with one bit flipped. */
export function flipped(bytes: Uint8Array, bit = 0): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[bit >> 3]! ^= 1 << (bit & 7);
  return changed;
}

/** Hex with one bit flipped. */
export function flippedHex(hex: string): string {
  return toHex(flipped(fromHex(hex)));
}
