/**
 * What a client checks before it trains and before it believes a result (`shared/reference` of the protocol: SPEC.md, message M0 and R5).
 * Pure: every check takes facts and returns the first violation, or null. A refused offer is declined with the violation's code.
 */
import type { ClientId, Digest, FederationId } from '../../shared/core/ids.ts';

/** Why a client does not do what the coordinator asks: `code` travels to the coordinator, `detail` is for people. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly detail: string;
}

/** Every reason for which a client refuses; wire format of `decline`. */
export type RefusalCode =
  | 'bad-signature'
  | 'wrong-federation'
  | 'unsupported-suite'
  | 'stale-round'
  | 'model-discontinuity'
  | 'plan-mismatch'
  | 'policy-refused'
  | 'base-mismatch'
  | 'layout-mismatch'
  | 'model-mismatch'
  | 'training-failed'
  | 'result-mismatch'
  | 'unknown-round';

/** What a client knows about its federation before any offer: pinned at enrolment or kept in the journal. */
export interface SessionMemory {
  readonly clientId: ClientId;
  readonly federationId: FederationId;
  /** Highest round to which this client contributed, -1 before the first. */
  readonly lastRoundIndex: number;
  /** The adapter that the last verified result announced, with its round; null before the first. */
  readonly lastResult: { readonly roundIndex: number; readonly modelHash: Digest } | null;
}

/** The parts of an offer that are judged without fetching anything. `signatureValid` is computed under the pinned coordinator key. */
export interface OfferFacts {
  readonly roundHash: Digest;
  readonly signatureValid: boolean;
  readonly federationId: FederationId;
  readonly suite: number;
  readonly roundIndex: number;
  readonly dim: number;
  readonly planHash: Digest;
  readonly baseDigest: Digest;
  readonly layoutHash: Digest;
  readonly modelHash: Digest;
}

/** What the client computed itself from the bytes that it fetched. */
export interface PreparedFacts {
  readonly planHash: Digest;
  readonly baseDigest: Digest;
  readonly layoutHash: Digest;
  readonly dim: number;
  readonly modelHash: Digest;
}

/** A result as announced, with the outcome of checking its signature. */
export interface ResultFacts {
  readonly roundHash: Digest;
  readonly signatureValid: boolean;
  readonly newModelHash: Digest;
}

const refusal = (code: RefusalCode, detail: string): Refusal => ({ code, detail });

/** Judges an offer before anything is fetched: signature, federation, suite, one contribution per round number, continuity of the model. */
export function checkOffer(offer: OfferFacts, memory: SessionMemory): Refusal | null {
  if (!offer.signatureValid) {
    return refusal('bad-signature', 'the round parameters are not signed by the coordinator key pinned at enrolment');
  }
  if (offer.federationId !== memory.federationId) {
    return refusal('wrong-federation', `enrolled in ${memory.federationId}, offered a round of ${offer.federationId}`);
  }
  if (offer.suite !== 0)
    return refusal('unsupported-suite', `this client speaks suite 0 only, offered suite ${offer.suite}`);
  if (offer.roundIndex <= memory.lastRoundIndex) {
    return refusal(
      'stale-round',
      `round ${offer.roundIndex} offered, but this client already contributed to round ${memory.lastRoundIndex}`,
    );
  }
  const previous = memory.lastResult;
  if (previous !== null && previous.roundIndex + 1 === offer.roundIndex && previous.modelHash !== offer.modelHash) {
    return refusal(
      'model-discontinuity',
      `round ${offer.roundIndex} starts from ${offer.modelHash}, but round ${previous.roundIndex} ended in ${previous.modelHash}`,
    );
  }
  return null;
}

/** Judges the fetched bytes against the signed parameters: plan, base, layout and adapter are what the coordinator vouched for. */
export function checkPrepared(offer: OfferFacts, prepared: PreparedFacts): Refusal | null {
  const pairs = [
    ['plan-mismatch', 'plan hash', offer.planHash, prepared.planHash],
    ['base-mismatch', 'base digest', offer.baseDigest, prepared.baseDigest],
    ['layout-mismatch', 'layout hash', offer.layoutHash, prepared.layoutHash],
    ['layout-mismatch', 'adapter dimension', offer.dim, prepared.dim],
    ['model-mismatch', 'model hash', offer.modelHash, prepared.modelHash],
  ] as const;
  for (const [code, what, signed, own] of pairs) {
    if (signed !== own) return refusal(code, `${what}: the signed round says ${signed}, the fetched bytes give ${own}`);
  }
  return null;
}

/** Judges a result: signed under the pinned key. What it says is compared with the bytes of the next offer. */
export function checkResult(result: ResultFacts): Refusal | null {
  return result.signatureValid
    ? null
    : refusal('bad-signature', 'the result is not signed by the pinned coordinator key');
}
