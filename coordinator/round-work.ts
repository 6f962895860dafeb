/**
 * What the coordinator does for one round, step by step: opens it, makes the candidate of its durable updates, publishes it or makes it void.
 * Every step writes what the next one needs before it returns.
 */
import type { Happening } from '../shared/audit/entry.ts';
import { assert } from '../shared/core/assert.ts';
import { float32Of, toHex } from '../shared/core/bytes.ts';
import type { ClientId, Digest, SessionId } from '../shared/core/ids.ts';
import { cohortSizeMax } from '../shared/core/limits.ts';
import type { Clock, Entropy } from '../shared/core/ports.ts';
import type { Identity } from '../shared/crypto/identity.ts';
import type { CertificateFacts } from '../shared/identity/certificate.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { spentStatement } from '../shared/plan/privacy.ts';
import { rootOf } from '../shared/plan/robustness.ts';
import { isMasked } from '../shared/plan/secure-aggregation.ts';
import type { BlobReference, Evaluation, Update } from '../shared/protocol/messages.ts';
import { sealEvaluate, sealOffer, sealResult } from '../shared/protocol/messages.ts';
import {
  encodeRoundParams,
  maskedRound,
  type RoundParams,
  roundHashOf,
  unmaskedRound,
} from '../shared/protocol/round-params.ts';
import { sealVoid } from '../shared/protocol/void-record.ts';
import { drawHashOf, maskedTermsOf } from '../shared/secure-aggregation/terms.ts';
import { type Metrics, metricsOf } from '../shared/training/metrics.ts';
import { bindTask } from '../shared/training/tasks/registry.ts';
import { countRanges, type Exchange } from '../shared/update/exchange.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import type { Candidate } from './aggregation/aggregate.ts';
import { aggregate } from './aggregation/aggregate.ts';
import { clipNormOf } from './aggregation/clip-norm.ts';
import type { Measure } from './aggregation/combine.ts';
import { longUpdates } from './aggregation/long-updates.ts';
import { commitNoise, forgetNoise, keepsNoise, noiseOf } from './audit/central-noise.ts';
import { neededVectors } from './audit/erasure.ts';
import { type CanaryGate, canaryMeasures, refusalOf, type Verdict } from './canary/gate.ts';
import { type OperatorModel, rootStep } from './canary/operator.ts';
import type { QuarantineBook } from './enrolment/quarantine.ts';
import type { CoordinatorProgress } from './events.ts';
import { makeVersion } from './library/publish.ts';
import { type MaskedRound, startMasked } from './masking/masked-rounds.ts';
import { poolEvaluations } from './rounds/evaluation.ts';
import type { RoundOutcome } from './rounds/state.ts';
import type { Uploads } from './rounds/uploads.ts';
import { createUploads } from './rounds/uploads.ts';
import type { CoordinatorBlobs } from './store/blobs.ts';
import type { CoordinatorStore, FederationRecord, UpdateRecord, VersionRow } from './store/store.ts';
import type { ServedBlobs } from './transport/served-blobs.ts';

/** What rounds are made with. */
export interface RoundPorts {
  readonly plan: Plan;
  readonly record: FederationRecord;
  /** What is published, trained and uploaded. */
  readonly exchange: Exchange;
  readonly base: readonly { readonly name: string; readonly blob: BlobReference }[];
  readonly planReference: BlobReference;
  readonly served: ServedBlobs;
  readonly store: CoordinatorStore;
  readonly blobs: CoordinatorBlobs;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Clients that said that AES runs in hardware there. */
  readonly nativeAes: ReadonlySet<ClientId>;
  /** What certificates of a consortium are judged by; null where the coordinator vouches for clients. */
  readonly certificates: () => CertificateFacts | null;
  /** What is computed with rows of the operator; null where the plan needs none. */
  readonly operator: OperatorModel | null;
  /** The gate of the plan, if it has one. */
  readonly gate: CanaryGate | null;
  /** Marks clients. */
  readonly quarantine: Pick<QuarantineBook, 'mark'>;
  /** Appends to the log what no change of the store says. */
  readonly note: (happening: Happening) => Promise<void>;
}

/** The round in hand. One owner: the driver; maps are filled by what clients say. */
export interface OpenRound {
  readonly roundIndex: number;
  readonly roundHash: Digest;
  readonly sessionId: SessionId;
  /** Signed frame for everybody who is asked. */
  readonly offer: Uint8Array;
  readonly uploads: Uploads;
  readonly startedMs: number;
  readonly announcements: Map<ClientId, Update>;
  readonly evaluations: Map<ClientId, Evaluation>;
  /** Refused messages by violation code. */
  readonly rejections: Map<string, number>;
  /** What a masked round has beside; null where updates are sent as they are. */
  readonly masked: MaskedRound | null;
  candidate: (Candidate & { readonly modelHash: Digest; readonly reference: BlobReference }) | null;
  /** What the gate said of the candidate; null before, and without a gate. */
  verdict: Verdict | null;
}

/** An adapter and how it is offered. */
interface ServedAdapter {
  readonly bytes: Uint8Array;
  readonly reference: BlobReference;
}

/** Who a round is about when it is published. */
interface Participants {
  readonly asked: readonly ClientId[];
  readonly contributors: readonly ClientId[];
}

/** The steps of rounds. @throws StoreError from every step when storage fails; then nothing half-done counts. */
export interface RoundWork {
  /** Uses a round number up, then signs the offer. */
  open(roundIndex: number, asked: readonly ClientId[]): Promise<OpenRound>;
  /** The round of a durable attempt, as it was offered. */
  reopen(params: RoundParams): Promise<OpenRound>;
  /** Makes `round.candidate` of the durable updates of `contributors`: its model hash. @throws FederationError when it is not finite. */
  makeCandidate(round: OpenRound, contributors: readonly ClientId[]): Promise<Digest>;
  /** Signed frame that asks contributors to measure the candidate. */
  sealEvaluation(round: OpenRound): Uint8Array;
  /** Why the gate refuses the candidate, once that is in the log; null where it passes, or there is no gate. */
  judge(round: OpenRound): Promise<string | null>;
  /** Makes the candidate the next version: signed frame of the result, the event, and what deletes the updates once all were told. */
  publish(
    round: OpenRound,
    participants: Participants,
  ): Promise<{ readonly result: Uint8Array; readonly event: CoordinatorProgress; readonly sweep: () => Promise<void> }>;
  /** Ends a round without a version and deletes its updates: the signed frame about it. `round` null: it was never opened here. */
  makeVoid(
    round: OpenRound | null,
    outcome: Pick<RoundOutcome, 'roundIndex' | 'contributed' | 'detail'>,
  ): Promise<Uint8Array>;
}

/** Largest example count that a client may claim: what a u32 holds. */
const weightMax = 2 ** 32 - 1;

/** Work on the rounds of one federation. */
export function createRoundWork(ports: RoundPorts): RoundWork {
  const { plan, record, exchange, store, blobs, served, identity, clock, entropy } = ports;
  const { dim } = exchange.uploaded;
  const counts = countRanges(exchange);
  let latestAdapter: ServedAdapter | null = null;
  const accumulator = new Float64Array(dim);

  const latestVersion = async (): Promise<VersionRow> => {
    const latest = await store.latestVersion();
    assert(latest !== null, 'the initial adapter is stored before the first round');
    return latest;
  };
  /** Deletes deltas that are no longer needed. */
  const forget = async (updates: readonly UpdateRecord[]): Promise<void> => {
    // A client may have sent the same in a round whose updates stay; masked vectors are all different.
    const mayShare = plan.audit.retainUpdates && !isMasked(plan) && updates.length > 0;
    const needed = mayShare ? await neededVectors(store) : new Set();
    await Promise.all(updates.filter(({ delta }) => !needed.has(delta)).map(({ delta }) => blobs.delete(delta)));
  };
  /** The latest version's adapter as it is served: made by this process, or read once. */
  const adapterOf = async ({ adapter }: VersionRow): Promise<ServedAdapter> => {
    if (latestAdapter?.reference.digest !== adapter) {
      const bytes = await blobs.get(adapter);
      latestAdapter = { bytes, reference: await served.announce(bytes) };
    }
    return latestAdapter;
  };
  const updatesOf = async (roundIndex: number, contributors: readonly ClientId[]): Promise<UpdateRecord[]> => {
    const counted = new Set(contributors);
    return (await store.updatesOf(roundIndex)).filter(({ clientId }) => counted.has(clientId));
  };

  /** What the round's clients counted together, if they did. */
  const metricsOfRound = (round: OpenRound): Metrics | null => {
    const task = bindTask(plan.task);
    const evaluated = round.masked?.evaluated ?? null;
    return evaluated === null ? poolEvaluations(round.evaluations.values(), task) : metricsOf(evaluated, task.metrics);
  };

  const startRound = (roundParams: RoundParams, { reference: adapter }: ServedAdapter): OpenRound => {
    const { roundIndex, sessionId } = roundParams;
    const roundHash = roundHashOf(encodeRoundParams(roundParams));
    const offer = sealOffer(identity, { roundParams, plan: ports.planReference, base: ports.base, adapter });
    const uploads = createUploads({ demands: { roundIndex, roundHash, dim, weightMax, counts }, store, blobs });
    const records = { announcements: new Map(), evaluations: new Map(), rejections: new Map() };
    const masked = roundParams.suite === 0 ? null : startMasked(roundParams);
    return {
      roundIndex,
      roundHash,
      sessionId,
      offer,
      uploads,
      startedMs: clock.nowMs(),
      ...records,
      masked,
      candidate: null,
      verdict: null,
    };
  };

  return {
    open: async (roundIndex, asked) => {
      const latest = await latestVersion();
      const earlier = (await store.rounds()).find((one) => one.roundIndex === roundIndex);
      const { federationId, planHash, baseDigest, layoutHash } = record;
      const { recruitSeconds, trainSeconds, quorum, cohortSize } = plan.rounds;
      const sessionId = toHex(entropy.bytes(16)) as SessionId;
      const unmasked = {
        federationId,
        planHash,
        baseDigest,
        layoutHash,
        sessionId,
        roundIndex,
        dim,
        weightMax,
        modelHash: latest.modelHash,
        attempt: earlier === undefined ? 0 : earlier.attempt + 1,
        clientCountMin: quorum,
        clientCountMax: cohortSize === 'all' ? cohortSizeMax : cohortSize,
        recruitMs: recruitSeconds * 1000,
        trainMs: trainSeconds * 1000,
      };
      const suite = asked.every((clientId) => ports.nativeAes.has(clientId)) ? 2 : 1;
      const norm = clipNormOf(plan, await store.versions(), identity.publicKey);
      const params = isMasked(plan)
        ? maskedRound({
            ...unmasked,
            ...maskedTermsOf(plan, exchange),
            ...(norm === null ? {} : { clipNorm: norm }),
            suite,
          })
        : unmaskedRound(unmasked);
      const roundHash = roundHashOf(encodeRoundParams(params));
      if (keepsNoise(plan)) await ports.note(await commitNoise(store, roundIndex, entropy));
      if (earlier === undefined) await store.openRound(roundIndex, roundHash, asked.length);
      else await forget(await store.reopenRound(roundIndex, roundHash, asked.length));
      return startRound(params, await adapterOf(latest));
    },
    reopen: async (params) => startRound(params, await adapterOf(await latestVersion())),
    makeCandidate: async (round, contributors) => {
      await round.uploads.close();
      const latest = await latestVersion();
      const updates = await updatesOf(round.roundIndex, contributors);
      assert(updates.length === contributors.length, 'every contributor has a durable update');
      const { bytes: startBytes } = await adapterOf(latest);
      const { lengthFactor } = plan.quarantine;
      if (lengthFactor !== undefined && round.masked === null)
        for (const clientId of await longUpdates(updates, lengthFactor, blobs)) ports.quarantine.mark(clientId, 'long');
      const drawHash = round.masked === null ? round.roundHash : drawHashOf(round.masked.params);
      const { roundIndex } = round;
      const root =
        rootOf(plan.aggregation) === null
          ? null
          : await rootStep(ports.operator, float32Of(startBytes), { roundIndex, drawHash });
      const noise = keepsNoise(plan) ? await noiseOf(store, roundIndex, round.roundHash) : null;
      const candidate = await aggregate({
        plan,
        exchange,
        roundIndex,
        roundHash: drawHash,
        root,
        startBytes,
        ruleState: latest.ruleState,
        updates,
        opened: round.masked?.opened ?? null,
        blobs,
        accumulator,
        entropy: noise ?? entropy,
        clipNorm: clipNormOf(plan, await store.versions(), identity.publicKey),
      });
      noise?.wipe();
      // The disk writes while the model is hashed.
      const stored = served.announce(candidate.adapterBytes);
      const modelHash = modelHashOf(record.baseDigest, candidate.adapterBytes);
      round.candidate = { ...candidate, modelHash, reference: await stored };
      return modelHash;
    },
    sealEvaluation: ({ roundHash, candidate }) => {
      assert(candidate !== null, 'a candidate exists before it is evaluated');
      return sealEvaluate(identity, { roundHash, modelHash: candidate.modelHash, adapter: candidate.reference });
    },
    judge: async (round) => {
      const { gate } = ports;
      const { candidate, roundHash, roundIndex } = round;
      if (gate === null) return null;
      assert(candidate !== null, 'a candidate exists before it is judged');
      const { adapterBytes, modelHash } = candidate;
      const versions = await store.versions();
      const latest = await latestVersion();
      const { bytes: latestBytes } = await adapterOf(latest);
      const verdict = await gate.judge({
        adapterBytes,
        modelHash,
        metrics: metricsOfRound(round),
        versions,
        latestBytes,
      });
      round.verdict = verdict;
      const { reason, candidate: found, before } = verdict;
      if (reason === null) return null;
      const { federationId, planHash } = record;
      const { metric, drop, least = null } = plan.canary;
      const what = { federationId, planHash, roundIndex, roundHash, modelHash, parentModelHash: latest.modelHash };
      const measured = { metric, candidate: found, before, drop, least, reason, createdAtMs: clock.nowMs() };
      await ports.note(refusalOf(identity, { ...what, ...measured }));
      return reason;
    },
    publish: async (round, { asked, contributors }) => {
      const { candidate, roundHash, roundIndex, verdict } = round;
      assert(candidate !== null, 'a candidate exists before it is published');
      const latest = await latestVersion();
      const metrics = metricsOfRound(round);
      const updates = await updatesOf(roundIndex, contributors);
      const publishedMs = clock.nowMs();
      const closed = { roundIndex, roundHash, cohort: asked, updates, rejections: round.rejections };
      const isCertified = ports.certificates() !== null;
      const spent = spentStatement(plan, exchange.uploaded.dim, roundIndex);
      const lineage = { identity, plan, record, publishedMs, isCertified, spent };
      const measures = measuresWith(candidate.measures, verdict);
      const made = makeVersion({ ...lineage, latest, candidate: { ...candidate, measures }, round: closed, metrics });
      const { version } = made.version;
      const groups = round.masked?.opened?.groups ?? null;
      const inGroups = groups === null ? '' : `, ${groups.countedCount} of ${groups.drawnCount} groups`;
      const completed = `completed with ${contributors.length} of ${asked.length}${inGroups}`;
      const forgotten = await store.publish(made.version, completed);
      const { modelHash, totalWeight, exampleCount, reference } = candidate;
      latestAdapter = { bytes: candidate.adapterBytes, reference };
      const result = sealResult(identity, {
        roundHash,
        roundIndex,
        resultHash: made.resultHash,
        transcriptHash: made.transcriptHash,
        totalWeight,
        newModelHash: modelHash,
        contributorCount: contributors.length,
      });
      const counted = { asked: asked.length, contributors: contributors.length, exampleCount };
      const seconds = (publishedMs - round.startedMs) / 1000;
      const described = { ...counted, metrics, measures, seconds };
      const event = { type: 'published', version, roundIndex, modelHash, ...described } as const;
      return { result, event, sweep: () => forget(forgotten) };
    },
    makeVoid: async (round, { roundIndex, contributed, detail }) => {
      await round?.uploads.close();
      await round?.masked?.attempt?.close();
      await round?.masked?.evaluation?.close();
      const known = (await store.rounds()).find((one) => one.roundIndex === roundIndex);
      const roundHash = round?.roundHash ?? known?.roundHash;
      assert(roundHash !== undefined, 'a round that ends was opened');
      const { modelHash } = await latestVersion();
      const { federationId } = record;
      const numbers = { roundIndex, nextRoundIndex: roundIndex + 1 };
      const said = { federationId, roundHash, ...numbers, modelHash, reason: detail, createdAtMs: clock.nowMs() };
      const frame = sealVoid(identity, said);
      await forget(await store.voidRound(roundIndex, contributed, detail, frame));
      await forgetNoise(store, roundIndex);
      return frame;
    },
  };
}

/** Measures of the rule with those of the gate, ascending in name. */
function measuresWith(measures: readonly Measure[], verdict: Verdict | null): readonly Measure[] {
  const { candidate = null, before = null } = verdict ?? {};
  const found = [
    ...(candidate === null ? [] : [{ name: canaryMeasures.candidate, value: candidate }]),
    ...(before === null ? [] : [{ name: canaryMeasures.before, value: before }]),
  ];
  return [...measures, ...found].sort((left, right) => (left.name < right.name ? -1 : 1));
}
