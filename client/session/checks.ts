/**
 * What a client checks before it trains (SPEC.md, message M0). Pure: every check takes facts and returns the first thing that is wrong, or
 * null. An offer that is refused is declined with the code.
 */
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import type { PhasePlace } from '../../shared/plan/phases.ts';
import type { DeclineCode, Offer } from '../../shared/protocol/messages.ts';
import { deviationFrom, type MaskedTerms } from '../../shared/secure-aggregation/terms.ts';
import type { ContentFault } from '../../shared/update/content.ts';

/** Why a client does not do what the coordinator asks. Both travel to the coordinator: `detail` says nothing about the site's data. */
export interface Refusal {
  readonly code: DeclineCode;
  readonly detail: string;
}

/** What a client knows about its federation before any offer: pinned at enrolment or kept in the journal. */
export interface SessionMemory {
  readonly federationId: FederationId;
  /** Highest round to which this client contributed, -1 before the first. */
  readonly lastRoundIndex: number;
  /** The adapter that the last verified result or void round announced, with its round; null before the first. */
  readonly lastResult: { readonly roundIndex: number; readonly modelHash: Digest } | null;
  /** Masked attempts that were taken on under the newest round number; absent before the first. */
  readonly attempts?: { readonly roundIndex: number; readonly count: number };
}

/**
 * Masked attempts under one round number. Every one draws its groups anew, and no void record says so; a coordinator repeats one only when it was
 * killed before its clients agreed.
 */
export const attemptsMax = 8;

/** What the client computed itself from the bytes that it fetched. */
export interface PreparedFacts {
  readonly planHash: Digest;
  readonly baseDigest: Digest;
  readonly layoutHash: Digest;
  readonly dim: number;
  readonly modelHash: Digest;
  /** What the plan demands of masked rounds on this adapter; null where its rounds are not masked. */
  readonly terms: MaskedTerms | null;
  /** Of a plan of phases: which one it is, and what it builds on. */
  readonly phase?: PhasePlace;
  /** The first member of the adapter that is not what the plan names, if any. */
  readonly contentFault?: ContentFault | null;
}

const refusal = (code: DeclineCode, detail: string): Refusal => ({ code, detail });

/**
 * Judges an offer before anything is fetched: federation, suite, one contribution per round number, continuity of the model. Its signature
 * was verified under the pinned key before.
 */
export function checkOffer({ roundParams }: Offer, memory: SessionMemory): Refusal | null {
  const { federationId, suite, roundIndex, modelHash } = roundParams;
  if (federationId !== memory.federationId) {
    return refusal('wrong-federation', `enrolled in ${memory.federationId}, offered a round of ${federationId}`);
  }
  if (suite > 2) return refusal('unsupported-suite', `this client speaks suites 0 to 2, offered suite ${suite}`);
  if (roundIndex <= memory.lastRoundIndex) {
    const last = memory.lastRoundIndex;
    return refusal('stale-round', `round ${roundIndex} offered, but this client already contributed to round ${last}`);
  }
  const { attempts } = memory;
  if (suite !== 0 && attempts?.roundIndex === roundIndex && attempts.count >= attemptsMax)
    return refusal(
      'stale-round',
      `round ${roundIndex} offered again after ${attemptsMax} attempts that led to nothing`,
    );
  const previous = memory.lastResult;
  if (previous !== null && roundIndex <= previous.roundIndex)
    return refusal('stale-round', `round ${roundIndex} offered, but round ${previous.roundIndex} is over`);
  if (previous !== null && previous.roundIndex + 1 === roundIndex && previous.modelHash !== modelHash) {
    return refusal(
      'model-discontinuity',
      `round ${roundIndex} starts from ${modelHash}, but round ${previous.roundIndex} ended in ${previous.modelHash}`,
    );
  }
  return null;
}

/** Judges the fetched bytes against the signed parameters: plan, base, layout and adapter are what the coordinator vouched for. */
export function checkPrepared({ roundParams: signed }: Offer, own: PreparedFacts): Refusal | null {
  const pairs = [
    ['plan-mismatch', 'plan hash', signed.planHash, own.planHash],
    ['base-mismatch', 'base digest', signed.baseDigest, own.baseDigest],
    ['layout-mismatch', 'layout hash', signed.layoutHash, own.layoutHash],
    ['layout-mismatch', 'adapter dimension', signed.dim, own.dim],
    ['model-mismatch', 'model hash', signed.modelHash, own.modelHash],
  ] as const;
  for (const [code, what, found, computed] of pairs) {
    if (found !== computed)
      return refusal(code, `${what}: the signed round says ${found}, the fetched bytes give ${computed}`);
  }
  return judgeContent(own.contentFault) ?? judgeTerms(signed, own.terms);
}

function judgeContent(fault: ContentFault | null = null): Refusal | null {
  if (fault === null) return null;
  const { path, member, expected, found } = fault;
  return refusal(
    'plan-mismatch',
    `${path}: the plan says ${expected}, the member ${member} of the adapter has ${found}`,
  );
}

/**
 * A round is of the phase that its plan says: not before the phase begins, and, where this client heard how the phase before ended, on that very
 * result. What a rollback takes back has another number in between, and is not compared.
 */
export function checkPhase(
  { roundParams: { roundIndex } }: Offer,
  phase: PhasePlace | undefined,
  { lastResult }: SessionMemory,
): Refusal | null {
  if (phase === undefined) return null;
  const { index, firstRound, results } = phase;
  if (roundIndex < firstRound)
    return refusal('plan-mismatch', `round ${roundIndex} offered in phase ${index}, which begins with ${firstRound}`);
  const before = results.at(-1);
  // The number before the first round begins the phase; the result that it builds on has the one before that.
  if (before === undefined || lastResult === null || lastResult.roundIndex !== firstRound - 2) return null;
  if (lastResult.modelHash === before.content) return null;
  return refusal(
    'model-discontinuity',
    `phase ${index} builds on ${before.content} of phase ${before.phase}, which ended in ${lastResult.modelHash}`,
  );
}

/** A round is masked exactly when its plan says so, and as it says. */
function judgeTerms(signed: Offer['roundParams'], terms: MaskedTerms | null): Refusal | null {
  if ((signed.suite !== 0) !== (terms !== null)) {
    const wanted = terms === null ? 'unmasked' : 'masked';
    return refusal(
      'plan-mismatch',
      `the rounds of the plan are ${wanted}, the signed round is of suite ${signed.suite}`,
    );
  }
  const deviation = terms === null ? null : deviationFrom(terms, signed);
  return deviation === null ? null : refusal('plan-mismatch', deviation);
}
