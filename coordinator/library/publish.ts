/** Makes the signed, immutable record of a version: what it is, what it came from, who made it. Storing it is the store's part. */
import { toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import type { Plan } from '../../shared/plan/plan.ts';
import { groupSizeOf, isMasked } from '../../shared/plan/secure-aggregation.ts';
import type { BlobReference } from '../../shared/protocol/messages.ts';
import type { VersionRecord } from '../../shared/protocol/version-record.ts';
import { resultHashOf, sealVersionRecord, transcriptHashOf } from '../../shared/protocol/version-record.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import type { Candidate } from '../aggregation/aggregate.ts';
import { ruleNameOf } from '../aggregation/rules.ts';
import type { FederationRecord, UpdateRecord, VersionRow } from '../store/store.ts';
import type { CheckedVersion } from './lineage.ts';
import { firstRoundMeasure, phaseMeasure, rolledBackTo } from './places.ts';

/** What protects single clients, in words. */
function privacyOf({ plan, isCertified, spent }: Pick<Lineage, 'plan'> & Protection): string {
  const noise = spent ?? 'published versions carry no differential privacy';
  if (!isMasked(plan)) return `${spent == null ? 'none: ' : ''}the coordinator could read every update; ${noise}`;
  const members = isCertified
    ? 'members are certified by the consortium that sites pinned'
    : 'honest-but-curious coordinator, which vouches for the keys of clients itself';
  const trust =
    plan.secureAggregation.profile === 'active' ? members : `coordinator that follows the protocol; ${members}`;
  const groupSize = groupSizeOf(plan);
  const saw =
    groupSize === null
      ? 'the sum of the updates alone'
      : `the sums of groups of at least ${groupSize} clients, each hidden in its group alone`;
  return `masked sums: the coordinator saw ${saw} (${trust}); ${noise}`;
}

/** What every version of a federation shares. */
export interface Lineage {
  readonly identity: Identity;
  readonly plan: Plan;
  /** What the version is of; in a plan of phases with the plan and the layout of its phase. */
  readonly record: Pick<FederationRecord, 'federationId' | 'baseDigest' | 'planHash' | 'layoutHash'>;
  readonly publishedMs: number;
}

/** What decides how the clients of a version are protected. */
export interface Protection {
  /** What differential privacy promises in this version; null or absent where there is none. */
  readonly spent?: string | null;
  /** Whether a consortium certified the clients. */
  readonly isCertified: boolean;
}

/** The round that made a version. */
export interface ClosedRound {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  readonly cohort: readonly ClientId[];
  /** Updates in the aggregate, in client-id order. */
  readonly updates: readonly UpdateRecord[];
  /** Refused messages by violation code. */
  readonly rejections: ReadonlyMap<string, number>;
}

/** A version ready to be stored and announced. */
export interface MadeVersion {
  readonly version: VersionRow;
  readonly resultHash: Digest;
  readonly transcriptHash: Digest;
}

/** Seals a version. */
function sealVersion(
  lineage: Lineage,
  facts: Omit<
    VersionRecord,
    'protocol' | 'federationId' | 'baseDigest' | 'planHash' | 'layoutHash' | 'aggregationRule' | 'createdAtMs'
  >,
  ruleState: Digest | null,
): Omit<MadeVersion, 'transcriptHash'> {
  const { identity, plan, publishedMs } = lineage;
  const { federationId, baseDigest, planHash, layoutHash } = lineage.record;
  const { record, signature } = sealVersionRecord(identity, {
    federationId,
    baseDigest,
    planHash,
    layoutHash,
    aggregationRule: ruleNameOf(plan.aggregation),
    createdAtMs: publishedMs,
    ...facts,
  });
  const version: VersionRow = {
    version: facts.versionIndex,
    roundIndex: facts.round?.roundIndex ?? -1,
    adapter: facts.adapterDigest,
    modelHash: facts.modelHash,
    ruleState,
    record: toHex(record),
    signature: toHex(signature),
    publishedMs,
    contributed: facts.contributors.length,
  };
  return { version, resultHash: resultHashOf(record) };
}

/** Version 0: the adapter before the first round. */
export function makeInitialVersion(lineage: Lineage, adapterDigest: Digest, modelHash: Digest): VersionRow {
  const nobody = { contributors: [], cohort: [], survivorCount: 0, rejections: [], totalWeight: 0 };
  const nothing = { round: null, parentModelHash: null, metrics: null, measures: [] };
  const privacy = 'none: no update of a client of this federation is in it';
  const facts = { versionIndex: 0, modelHash, adapterDigest, privacy, ...nothing, ...nobody };
  return sealVersion(lineage, facts, null).version;
}

/** The version after `latest` that is `target` again: what was published in between stays in the library, and nobody goes on from it. */
export function makeRollback(
  lineage: Lineage,
  { latest, target }: { readonly latest: VersionRow; readonly target: CheckedVersion },
): VersionRow {
  const nobody = { contributors: [], cohort: [], survivorCount: 0, rejections: [], totalWeight: 0 };
  const facts = {
    versionIndex: latest.version + 1,
    round: null,
    modelHash: target.row.modelHash,
    parentModelHash: latest.modelHash,
    adapterDigest: target.row.adapter,
    metrics: null,
    measures: [{ name: rolledBackTo, value: target.row.version }],
    // The same values: what protects clients in them is what it was.
    privacy: target.record.privacy,
    ...nobody,
  };
  const { planHash, layoutHash } = target.record;
  const record = { ...lineage.record, planHash, layoutHash };
  return sealVersion({ ...lineage, record }, facts, target.row.ruleState).version;
}

/** The version after `latest` that begins a phase of the plan: its adapter before the first round of the phase. */
export function makePhaseStart(
  lineage: Lineage & Protection,
  {
    latest,
    adapterDigest,
    modelHash,
    index,
    firstRound,
  }: {
    readonly latest: VersionRow;
    readonly adapterDigest: Digest;
    readonly modelHash: Digest;
    readonly index: number;
    readonly firstRound: number;
  },
): VersionRow {
  const nobody = { contributors: [], cohort: [], survivorCount: 0, rejections: [], totalWeight: 0 };
  const measures = [
    { name: phaseMeasure, value: index },
    { name: firstRoundMeasure, value: firstRound },
  ];
  const place = { versionIndex: latest.version + 1, round: null, parentModelHash: latest.modelHash };
  const made = { modelHash, adapterDigest, privacy: privacyOf(lineage), metrics: null, measures };
  return sealVersion(lineage, { ...place, ...made, ...nobody }, null).version;
}

/** The version that `candidate` becomes. */
export function makeVersion(
  options: Lineage &
    Protection & {
      readonly latest: VersionRow;
      readonly candidate: Candidate & { readonly modelHash: Digest; readonly reference: BlobReference };
      readonly round: ClosedRound;
      readonly metrics: Metrics | null;
    },
): MadeVersion {
  const { latest, candidate, round, metrics } = options;
  const { roundIndex, roundHash, cohort, updates } = round;
  const transcriptHash = transcriptHashOf(roundHash, updates);
  const rejections = [...round.rejections]
    .map(([code, count]) => ({ code, count }))
    .sort((left, right) => (left.code < right.code ? -1 : 1));
  const facts = {
    versionIndex: latest.version + 1,
    round: { roundIndex, roundHash, transcriptHash },
    modelHash: candidate.modelHash,
    parentModelHash: latest.modelHash,
    adapterDigest: candidate.reference.digest,
    contributors: updates.map(({ clientId }) => clientId),
    cohort,
    privacy: privacyOf(options),
    rejections,
    metrics,
    survivorCount: updates.length,
    totalWeight: candidate.totalWeight,
    measures: candidate.measures,
  };
  return { ...sealVersion(options, facts, candidate.ruleState), transcriptHash };
}
