/**
 * RoundParams: everything that defines one attempt of one round, in canonical bytes. Its hash, `roundHash`, stands in every message of the
 * round, so that no signature is good for another round, plan, base, layout or model.
 *
 * Suite 0 masks nothing: the update is the float32 delta in little-endian bytes, readable by the coordinator (decision 3). The fields of
 * masked suites are then zero, and there is no masked tail.
 */
import { utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { adapterParametersMax, cohortSizeMax } from '../core/limits.ts';
import type { Result } from '../core/result.ts';
import { refuse } from '../core/result.ts';
import { digestOf } from '../crypto/hash.ts';
import { groupSizeMax, groupSizeMin } from '../secure-aggregation/threshold.ts';
import { decodeCanonical, encodeCanonical, f64, u8, u16, u32, type ValueOf } from './canonical.ts';
import { digest, federationId, sessionId, structure } from './canonical-compound.ts';
import { protocolVersion } from './version.ts';
import { type Violation, violation } from './violations.ts';

const roundParamsFormat = structure({
  protocol: u16,
  /** 0: nothing is masked. */
  suite: u16,
  federationId,
  sessionId,
  roundIndex: u32,
  attempt: u16,
  /** The adapter that training starts from (`modelHashOf`). */
  modelHash: digest,
  layoutHash: digest,
  planHash: digest,
  baseDigest: digest,
  /** Length of the delta in numbers. */
  dim: u32,
  /** Masked words after the delta; 0 in suite 0. */
  tail: u16,
  ringBits: u8,
  fracBits: u8,
  /** Bound of one coordinate; 0 in suite 0: no bound. */
  coordBound: f64,
  /** Bound of the norm; 0 in suite 0: no bound. */
  clipNorm: f64,
  /** Largest weight of one client. */
  weightMax: f64,
  weightBits: u8,
  /** 1: stochastic. */
  rounding: u8,
  /** 0: no noise; 1: Skellam noise of clients inside the masked sum. */
  dpMode: u8,
  /** Deviation of the noise of the sum at worst, in the unit of deltas. */
  dpSigma: f64,
  /** Graph of the masked protocol: 0 complete, 1 sparse, 2 groups. */
  mode: u8,
  clientCountMin: u16,
  clientCountMax: u16,
  organisationCountMin: u16,
  /** Least members of a group where there are groups; 0 elsewhere. */
  neighbourCount: u16,
  maskNeighbourCount: u16,
  /** 1: active adversary, 0: semi-honest coordinator. */
  profile: u8,
  /** Milliseconds for M1 to M5; suite 0 uses the first (recruit) and the third (train). */
  recruitMs: u32,
  sharesMs: u32,
  trainMs: u32,
  agreeMs: u32,
  unmaskMs: u32,
});

/** One attempt of one round. */
export type RoundParams = ValueOf<typeof roundParamsFormat>;

/** What a round without masks is made of; the rest is fixed. */
export type UnmaskedRound = Pick<
  RoundParams,
  | 'federationId'
  | 'sessionId'
  | 'roundIndex'
  | 'attempt'
  | 'modelHash'
  | 'layoutHash'
  | 'planHash'
  | 'baseDigest'
  | 'dim'
  | 'weightMax'
  | 'clientCountMin'
  | 'clientCountMax'
  | 'recruitMs'
  | 'trainMs'
>;

const suiteZero = {
  suite: 0,
  tail: 0,
  ringBits: 32,
  fracBits: 0,
  coordBound: 0,
  clipNorm: 0,
  weightBits: 0,
  rounding: 0,
  dpMode: 0,
  dpSigma: 0,
  mode: 0,
  organisationCountMin: 0,
  neighbourCount: 0,
  maskNeighbourCount: 0,
  profile: 0,
  sharesMs: 0,
  agreeMs: 0,
  unmaskMs: 0,
} as const;

/** What a masked round has beside. */
export type MaskedFields = Pick<
  RoundParams,
  | 'suite'
  | 'tail'
  | 'ringBits'
  | 'fracBits'
  | 'coordBound'
  | 'clipNorm'
  | 'dpMode'
  | 'dpSigma'
  | 'organisationCountMin'
  | 'profile'
  | 'sharesMs'
  | 'agreeMs'
  | 'unmaskMs'
> &
  Partial<Pick<RoundParams, 'mode' | 'neighbourCount'>>;

/** What every masked round of this version has. */
const masked = { weightBits: 16, rounding: 1, maskNeighbourCount: 0 } as const;
/** A complete graph, unless a round has groups. */
const completeGraph = { mode: 0, neighbourCount: 0 } as const;
/** `mode` of a round that is divided into groups. */
const groupMode = 2;

/** Least members of a group of a round; null where it has none. */
export function groupSizeOfRound({
  mode,
  neighbourCount,
}: Pick<RoundParams, 'mode' | 'neighbourCount'>): number | null {
  return mode === groupMode ? neighbourCount : null;
}

/** The fields that divide a round into groups of at least `groupSize` members, or into none. */
export function groupFields(groupSize: number | null): Required<Pick<MaskedFields, 'mode' | 'neighbourCount'>> {
  return groupSize === null ? completeGraph : { mode: groupMode, neighbourCount: groupSize };
}

/** Parameters of a masked round. */
export function maskedRound(round: UnmaskedRound & MaskedFields): RoundParams {
  return { protocol: protocolVersion, ...masked, ...completeGraph, ...round };
}

/** Parameters of a round of suite 0. */
export function unmaskedRound(round: UnmaskedRound): RoundParams {
  return { ...suiteZero, protocol: protocolVersion, ...round };
}

/** The canonical bytes of round parameters. */
export function encodeRoundParams(parameters: RoundParams): Uint8Array {
  return encodeCanonical(roundParamsFormat, parameters);
}

/** Parses round parameters of any suite: `bad-frame`, or `protocol-version`. Whether a suite is acceptable is the reader's decision. */
export function decodeRoundParams(encoded: Uint8Array): Result<RoundParams, Violation> {
  const decoded = decodeCanonical(roundParamsFormat, encoded, 'round parameters');
  if (!decoded.ok) return decoded;
  const found = decoded.value;
  const fault = (detail: string) => refuse(violation('bad-frame', `round parameters: ${detail}`, found.roundIndex));
  if (found.protocol !== protocolVersion) {
    return refuse(
      violation('protocol-version', `this side speaks version ${protocolVersion}, the round ${found.protocol}`),
    );
  }
  if (found.dim < 1 || found.dim > adapterParametersMax)
    return fault(`dim ${found.dim} is not in 1 to ${adapterParametersMax}`);
  if (found.clientCountMin > found.clientCountMax || found.clientCountMax > cohortSizeMax) {
    return fault(`between ${found.clientCountMin} and ${found.clientCountMax} clients is no legal range`);
  }
  if (!(found.weightMax > 0)) return fault('the largest weight must be positive');
  if (found.suite === 0) {
    for (const [name, value] of Object.entries(suiteZero)) {
      const given = found[name as keyof typeof suiteZero];
      if (given !== value) return fault(`suite 0 has ${name} = ${value}, found ${given}`);
    }
  } else if (found.suite <= 2) {
    const fits =
      (found.ringBits === 16 || found.ringBits === 32) &&
      found.fracBits <= 30 &&
      found.coordBound > 0 &&
      found.clipNorm > 0 &&
      found.profile <= 1 &&
      (found.dpMode === 0 ? found.dpSigma === 0 : (found.dpMode === 1 || found.dpMode === 2) && found.dpSigma > 0);
    if (!fits) return fault('a masked round has a ring of 16 or 32 bits, and bounds above 0');
    const isGroupSize = found.neighbourCount >= groupSizeMin && found.neighbourCount <= groupSizeMax;
    const isGraph = found.mode === groupMode ? isGroupSize : found.mode === 0 && found.neighbourCount === 0;
    if (!isGraph)
      return fault(`a masked round has a complete graph, or groups of ${groupSizeMin} to ${groupSizeMax} members`);
    for (const [name, value] of Object.entries(masked)) {
      const given = found[name as keyof typeof masked];
      if (given !== value) return fault(`a masked round has ${name} = ${value}, found ${given}`);
    }
  }
  return decoded;
}

const prefix = utf8('TRIB-ROUND');

/** Hash of a round: SHA-256 of `"TRIB-ROUND"` and the canonical bytes of its parameters. */
export function roundHashOf(encoded: Uint8Array): Digest {
  return digestOf(prefix, encoded);
}
