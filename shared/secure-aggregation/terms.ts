/**
 * What a masked round is held to, from the plan and the adapter alone: both sides derive it, so that a coordinator cannot bend the encoding
 * of a single round. The ring has room for the largest cohort (security specification, section 2.5).
 */
import { assert } from '../core/assert.ts';
import { fromHex, utf8 } from '../core/bytes.ts';
import { UsageError } from '../core/errors.ts';
import type { Digest, SessionId } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import type { Plan } from '../plan/plan.ts';
import { distributedSettingsOf, spendingOf } from '../plan/privacy.ts';
import { groupSizeOf, isMasked, maskedCohortMax, sumSizesOf, sumSizesOfGroups } from '../plan/secure-aggregation.ts';
import { isClipNorm } from '../privacy/adaptive-clip.ts';
import { distributedTerms, distributedTermsAt, indicatorTermsOf } from '../privacy/distributed-noise.ts';
import {
  encodeRoundParams,
  groupFields,
  groupSizeOfRound,
  type MaskedFields,
  type RoundParams,
  roundHashOf,
} from '../protocol/round-params.ts';
import { countRanges, type Exchange } from '../update/exchange.ts';
import { type ContributionEncoding, tailWords } from './contribution.ts';
import { fracBitsMax } from './quantise.ts';
import type { RingBits } from './ring.ts';

/** The part of the parameters of a masked round that its plan decides; the suite is the coordinator's choice. */
export type MaskedTerms = Omit<MaskedFields, 'suite'> &
  Pick<RoundParams, 'weightMax' | 'clientCountMin' | 'clientCountMax'>;

/** The terms of a plan whose rounds are masked, on an adapter. */
export function maskedTermsOf(plan: Plan, exchange: Exchange): MaskedTerms {
  const { secureAggregation, rounds, aggregation } = plan;
  const { ringBits, coordBound, clipNorm, weightMax, organisationsMin, phaseSeconds, profile } = secureAggregation;
  const fracBits = fracBitsMax({ ringBits, coordBound }, sumSizesOf(plan).clientCountMax);
  assert(fracBits !== null, 'a checked plan fits its ring');
  const { weighting } = aggregation;
  const phaseMs = phaseSeconds * 1000;
  const noise = noiseOf(plan, exchange.uploaded.dim);
  return {
    tail: tailWords,
    ringBits,
    fracBits,
    coordBound,
    // No vector of clamped coordinates is longer.
    clipNorm: clipNorm === 'none' ? coordBound * Math.sqrt(exchange.uploaded.dim) : clipNorm,
    weightMax: weighting === 'examples' || weighting === 'quality' ? weightMax : 1,
    clientCountMin: rounds.quorum,
    clientCountMax: maskedCohortMax(plan),
    ...groupFields(groupSizeOf(plan)),
    organisationCountMin: organisationsMin,
    profile: profile === 'active' ? 1 : 0,
    sharesMs: phaseMs,
    agreeMs: phaseMs,
    unmaskMs: phaseMs,
    dpMode: 0,
    dpSigma: 0,
    ...noise,
  };
}

/** `dpMode` of rounds with distributed noise whose clip norm follows the updates. */
const adaptiveMode = 2;

/** What distributed noise makes of the terms. @throws UsageError `bad-plan` when its budget and ring leave no room. */
function noiseOf(plan: Plan, dim: number): Partial<MaskedTerms> {
  const { unit, mechanism, clipNorm, epsilon, adaptive } = plan.privacy;
  if (unit !== 'client' || mechanism !== 'distributed') return {};
  const spending = spendingOf(plan, dim);
  const terms = spending && distributedTerms(distributedSettingsOf(plan, dim, spending.noiseMultiplier));
  if (spending === null || terms === null) {
    const sentence = `no noise for epsilon ${epsilon} fits the ring of ${dim} parameters`;
    throw new UsageError('bad-plan', `the plan: privacy.epsilon must be larger: ${sentence}`);
  }
  const { fracBits } = terms;
  // Where the norm follows the updates, the grid stays that of the plan's norm, and updates are scaled to it.
  const dpMode = adaptive === undefined ? 1 : adaptiveMode;
  return { fracBits, clipNorm, coordBound: clipNorm, dpMode, dpSigma: spending.noiseMultiplier * clipNorm };
}

/** The first field of signed parameters that is not as the plan wants it, or null. */
export function deviationFrom(terms: MaskedTerms, params: RoundParams): string | null {
  for (const [name, wanted] of Object.entries(terms)) {
    const found = params[name as keyof MaskedTerms];
    // The norm of a round that follows the updates: whatever it is, the noise is in proportion to it.
    if (name === 'clipNorm' && terms.dpMode === adaptiveMode && isClipNorm(params.clipNorm)) continue;
    if (found !== wanted) return `${name}: the signed round says ${found}, the plan gives ${wanted}`;
  }
  return null;
}

/** The encoding that signed parameters prescribe, and the noise. */
export function encodingOf(params: RoundParams): ContributionEncoding {
  const { ringBits, fracBits, coordBound, clipNorm, weightMax } = params;
  const encoding = { ringBits: ringBits as RingBits, fracBits, coordBound, clipNorm, weightMax };
  if (params.dpMode === 0) return encoding;
  const { dim, dpSigma, clientCountMin, clientCountMax, profile } = params;
  const settings = { ringBits: encoding.ringBits, dim, clipNorm: coordBound, noiseMultiplier: dpSigma / coordBound };
  const named = profile === 1 ? 'active' : 'semi-honest';
  const groupSize = groupSizeOfRound(params);
  const rosters =
    groupSize === null ? { clientCountMin, clientCountMax } : sumSizesOfGroups(groupSize, clientCountMin, named);
  const terms = distributedTermsAt({ ...settings, ...rosters, profile: named }, fracBits);
  const noise = { terms, rotation: drawHashOf(params) };
  if (params.dpMode !== adaptiveMode) return { ...encoding, noise };
  const indicator = indicatorTermsOf({ ...settings, ...rosters, profile: named });
  return { ...encoding, noise: { ...noise, adaptive: { scale: clipNorm / coordBound, indicator } } };
}

/** The name of the masked evaluation of a candidate in its messages: an attempt of its own, with keys of its own. */
export function evaluationHashOf(roundHash: Digest, modelHash: Digest): Digest {
  return digestOf(utf8('TRIB-EVALUATION'), fromHex(roundHash), fromHex(modelHash));
}

const noSession = '00'.repeat(16) as SessionId;

/**
 * The hash from which clients draw what they all draw alike, the signs of sketches: that of the round whatever the attempt, so that a
 * repeated attempt uploads the same numbers (amendment 3). Of an unmasked round it is the round's.
 */
export function drawHashOf(params: RoundParams): Digest {
  const masked = params.suite === 0 ? params : { ...params, suite: 1, attempt: 0, sessionId: noSession };
  return roundHashOf(encodeRoundParams(masked));
}

/** Most uses of a part per example that an unmasked or masked round of `plan` carries: masks cut what is beyond their bound. */
export function usesCarried(plan: Plan): number {
  return isMasked(plan) ? plan.secureAggregation.coordBound * plan.task.lengthMax : Number.POSITIVE_INFINITY;
}

/**
 * Multiplies uses of parts, and what is weighed by them, by `factor`, in place: uses of texts go up to their length, and a ring with room for
 * that has none for small changes. Clients divide, the coordinator multiplies.
 */
export function scaleUses(exchange: Exchange, values: Float32Array | Float64Array, factor: number): void {
  const uses = countRanges(exchange).filter(({ max }) => max > 1);
  const names = new Set(uses.map(({ name }) => name));
  const weighed = exchange.uploaded.tensors.filter(
    ({ aggregationClass, countName }) =>
      aggregationClass === 'count-weighted' && countName !== undefined && names.has(countName),
  );
  for (const { offset, size } of [...uses, ...weighed])
    for (let index = offset; index < offset + size; index++) values[index]! *= factor;
}
