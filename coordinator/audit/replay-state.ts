/**
 * Replays rounds from the state of a coordinator with what an auditor brings along (the base, rows of the operator), and says of every round that cannot
 * be made again why not.
 */

import type { BackendName } from '../../shared/compute/backend-names.ts';
import { fromHex } from '../../shared/core/bytes.ts';
import { UsageError } from '../../shared/core/errors.ts';
import type { Digest } from '../../shared/core/ids.ts';
import { judgeCertificates } from '../../shared/identity/certificate.ts';
import { decodeConsortium } from '../../shared/identity/consortium.ts';
import { type Plan, planHashOf } from '../../shared/plan/plan.ts';
import { rootOf } from '../../shared/plan/robustness.ts';
import { type CanaryRecord, openCanaryRecord } from '../../shared/protocol/canary-record.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import { judgeVouchers } from '../../shared/secure-aggregation/voucher.ts';
import type { Metrics } from '../../shared/training/metrics.ts';
import { clipNormOf } from '../aggregation/clip-norm.ts';
import { measureWith } from '../canary/gate.ts';
import type { OperatorModel } from '../canary/operator.ts';
import { openOperatorModel } from '../canary/operator-model.ts';
import { type CheckedVersion, checkLineage, readAdapter } from '../library/lineage.ts';
import type { CoordinatorState } from '../store/state.ts';
import type { FederationRecord } from '../store/store.ts';
import { isCommitted, noiseOf } from './central-noise.ts';
import { erasedBy } from './erasure.ts';
import { entryOf, type LogRow, payloadOf } from './log-store.ts';
import { judgeTranscript, keysOf, type ReplayVerdict, replayRound } from './replay.ts';
import { checkedBase, exchangeForReplay, needsBase } from './replay-exchange.ts';
import { differenceOf, type Fault, plansOf, signedMeasures } from './verify-gate.ts';

/** Of a round whose updates a withdrawal erased. */
const erasedCode = 'updates-erased';
/** Of a round whose plan keeps updates, and whose transcript is gone: a fault, because somebody took it away. */
const missingCode = 'transcript-missing';

/** What an auditor brings. */
export interface AuditorFiles {
  readonly base?: string | undefined;
  /** The rows of `aggregation.root`, and those of `canary`. */
  readonly root?: string | undefined;
  readonly canary?: string | undefined;
  readonly backend: BackendName | 'auto';
}

/** What became of a replay. */
export interface RoundReplay {
  readonly roundIndex: number;
  /** The version that was made again; null where the round cannot be made again. */
  readonly made: ReplayVerdict | null;
  /** Why it cannot be made again; null where it was. */
  readonly obstacle: { readonly code: string; readonly detail: string } | null;
  /** How the gate's decision was checked, for people; null where the plan has none. */
  readonly gate: string | null;
  readonly faults: readonly Fault[];
}

/** Rounds that are replayed one by one. */
export interface Replays {
  readonly roundIndexes: readonly number[];
  replay(roundIndex: number): Promise<RoundReplay>;
  /** Frees the operator's model. */
  dispose(): void;
}

/** Opens the rounds of a state. @throws StoreError where versions or the plan do not hold; UsageError `wrong-rows`, `wrong-base` from replays. */
export async function openReplays(
  { store, blobs, record, identity }: CoordinatorState & { readonly record: FederationRecord },
  { base, root, canary, backend }: AuditorFiles,
): Promise<Replays> {
  const coordinatorKey = identity.publicKey;
  const rows = await store.versions();
  const versions = checkLineage(rows, { coordinatorKey, federation: record });
  const plans = plansOf(record.plan, versions);
  const rounds = await store.rounds();
  const keys = keysOf(await store.clients());
  const judgeAt = await judgesOf({ store, record }, coordinatorKey);
  const baseFolder = base === undefined ? undefined : await checkedBase(base, record);
  const refusals = refusalsIn(await store.log.rows(0), coordinatorKey);
  let opened: { readonly planHash: Digest; readonly operator: OperatorModel } | null = null;

  /** The operator's model of a plan, with the rows that are here. */
  const operatorOf = async (plan: Plan): Promise<OperatorModel> => {
    const planHash = planHashOf(plan);
    if (opened?.planHash === planHash) return opened.operator;
    opened?.operator.dispose();
    opened = null;
    if (baseFolder === undefined)
      throw new UsageError('base-needed', 'rows are measured on the base: give it with --base DIR');
    const files = { planFile: '', baseFolder, backend, rows: { canary: canary ?? null, root: root ?? null } };
    const operator = await openOperatorModel(files)(plan);
    opened = { planHash, operator };
    return operator;
  };

  const measure = async (plan: Plan, version: CheckedVersion): Promise<Metrics | null> =>
    measureWith(await operatorOf(plan), await readAdapter(version, blobs));

  /** Compares what was signed about versions with what the rows say. */
  const compare = async (
    roundIndex: number,
    plan: Plan,
    pairs: readonly (readonly [what: string, version: CheckedVersion | undefined, signed: number | null])[],
  ): Promise<Fault[]> => {
    const faults: Fault[] = [];
    const { metric } = plan.canary;
    for (const [what, version, signed] of pairs) {
      const measured = version === undefined ? null : await measure(plan, version);
      const difference = differenceOf(metric, { signed, measured });
      if (difference !== null)
        faults.push({ code: 'canary-differs', detail: `round ${roundIndex}, ${metric} of ${what}: ${difference}` });
    }
    return faults;
  };

  const gateOf = async (roundIndex: number): Promise<Pick<RoundReplay, 'gate' | 'faults'>> => {
    const refusal = refusals.get(roundIndex);
    const version = versions.findIndex(({ row }) => row.roundIndex === roundIndex);
    const plan = refusal === undefined ? plans[version] : plans.find((one) => planHashOf(one) === refusal.planHash);
    if (plan === undefined || plan.canary.by === 'none') return { gate: null, faults: [] };
    const judged = `its signed numbers ${refusal === undefined ? 'pass' : 'fail'} the gate`;
    if (plan.canary.by === 'clients') return { gate: `${judged}; held-out rows are with their sites`, faults: [] };
    if (canary === undefined) return { gate: `${judged}; --canary FILE measures again`, faults: [] };
    if (refusal !== undefined) {
      const stays = versions.find(({ record: { modelHash } }) => modelHash === refusal.parentModelHash);
      const faults = await compare(roundIndex, plan, [['the version that stays', stays, refusal.before]]);
      return { gate: `${judged}; the version that stays measured again, the candidate is not kept`, faults };
    }
    const signed = signedMeasures(plan.canary, versions, { version, coordinatorKey });
    const faults = await compare(roundIndex, plan, [
      ['the candidate', versions[version], signed?.candidate ?? null],
      ['the version before', versions[version - 1], signed?.before ?? null],
    ]);
    return { gate: `${judged}; measured again`, faults };
  };

  const obstacleOf = async (roundIndex: number): Promise<UsageError | null> => {
    const round = rounds.find((one) => one.roundIndex === roundIndex);
    const impossible = (code: string, why: string) =>
      new UsageError(code, `round ${roundIndex} cannot be made again: ${why}`);
    const version = versions.findIndex(({ row }) => row.roundIndex === roundIndex);
    if (version < 0)
      return impossible(
        'no-such-round',
        round === undefined
          ? 'there is no such round'
          : `it made no version, and its updates were deleted (${round.detail})`,
      );
    const plan = plans[version]!;
    const { aggregation, privacy } = plan;
    const transcript = await store.log.transcript(roundIndex);
    if (transcript === null)
      return plan.audit.retainUpdates
        ? impossible(missingCode, 'its plan keeps what its version was made of, and that is gone')
        : impossible('nothing-retained', 'its updates are not kept; a plan with audit.retainUpdates: true keeps them');
    const left = await erasedBy(transcript, { store, blobs, keys, federationId: record.federationId });
    if (left.length > 0) {
      const who = left.map((clientId) => clientId.slice(0, 8)).join(', ');
      return impossible(
        erasedCode,
        `its updates were deleted when a site withdrew (${who}); what its clients signed is there and was checked`,
      );
    }
    const isNoisy = privacy.unit === 'client' && privacy.mechanism === 'central';
    if (isNoisy && !(await isCommitted(store, roundIndex)))
      return impossible(
        'noise-not-kept',
        'the coordinator added noise to it, and no seed of it is here that was committed to before the round',
      );
    if (rootOf(aggregation) !== null && (root === undefined || baseFolder === undefined))
      return impossible(
        'root-needed',
        `the rule ${aggregation.robust} compares updates with a step on rows of the operator: give them with --root FILE, and the base with --base DIR`,
      );
    if (baseFolder === undefined && needsBase(plan))
      return impossible(
        'base-needed',
        'the plan publishes other ranks than sites train, or has phases: give --base DIR',
      );
    return null;
  };

  return {
    roundIndexes: rounds.filter(({ status }) => status !== 'open').map(({ roundIndex }) => roundIndex),
    replay: async (roundIndex) => {
      const found = await gateOf(roundIndex);
      const obstacle = await obstacleOf(roundIndex);
      if (obstacle !== null) {
        const { code, message } = obstacle;
        const isErased = code === erasedCode;
        const transcript = isErased ? await store.log.transcript(roundIndex) : null;
        const signed = transcript === null ? [] : judgeTranscript({ transcript, versions, keys }).faults;
        const missing = code === missingCode ? [{ code, detail: message }] : [];
        const faults = [...missing, ...signed, ...found.faults];
        return { roundIndex, made: null, obstacle: { code, detail: message }, gate: found.gate, faults };
      }
      const version = versions.findIndex(({ row }) => row.roundIndex === roundIndex);
      const plan = plans[version]!;
      const before = rows.slice(0, version);
      const made = await replayRound({
        ...{ plan, versions, keys, blobs, judgeAt },
        exchange: await exchangeForReplay(plan, record, baseFolder),
        transcript: (await store.log.transcript(roundIndex))!,
        noise: await noiseOf(store, roundIndex, versions[version]!.record.round!.roundHash),
        clipNorm: before.length === 0 ? null : clipNormOf(plan, before, coordinatorKey),
        rootStep: rootOf(plan.aggregation) === null ? null : (await operatorOf(plan)).rootUpdate,
      });
      return { roundIndex, made, obstacle: null, gate: found.gate, faults: [...made.faults, ...found.faults] };
    },
    dispose: () => opened?.operator.dispose(),
  };
}

/** Who judges the certificates of a round that was made at a time. */
async function judgesOf(
  { store, record }: Pick<CoordinatorState, 'store'> & { readonly record: FederationRecord },
  coordinatorKey: Uint8Array,
): Promise<(timeMs: number) => JudgeCertificate> {
  const hex = await store.documents.get('consortium');
  const decoded = hex === null ? null : decodeConsortium(fromHex(hex));
  const consortium = decoded?.ok ? decoded.value : null;
  if (consortium === null) return () => judgeVouchers(coordinatorKey, record.federationId);
  return (nowMs) => judgeCertificates(() => ({ consortium, revocations: null, nowMs }));
}

/** Signed refusals of candidates by round; what is wrong with others, the check of the log says. */
function refusalsIn(rows: readonly LogRow[], coordinatorKey: Uint8Array): ReadonlyMap<number, CanaryRecord> {
  const refusals = new Map<number, CanaryRecord>();
  for (const row of rows) {
    if (entryOf(row).type !== 'candidate-refused') continue;
    const { record, signature } = payloadOf(row);
    const opened = openCanaryRecord(coordinatorKey, {
      record: fromHex(String(record)),
      signature: fromHex(String(signature)),
    });
    if (opened.ok) refusals.set(opened.value.roundIndex, opened.value);
  }
  return refusals;
}
