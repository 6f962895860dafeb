/**
 * What a client does within one round, step by step: fetch plan, base and adapter (each checked against the signed parameters), train,
 * send the update, evaluate. Keeps what stays the same over rounds: the plan, the loaded base and the encoded rows.
 *
 * One step at a time: the driver calls the next one only after the one before has settled.
 */
import { assert } from '../shared/core/assert.ts';
import { float32Of } from '../shared/core/bytes.ts';
import { errorMessage, FederationError, FormatError } from '../shared/core/errors.ts';
import type { Digest } from '../shared/core/ids.ts';
import { baseFileBytesMax, planBytesMax } from '../shared/core/limits.ts';
import type { Clock, Entropy } from '../shared/core/ports.ts';
import type { Result } from '../shared/core/result.ts';
import { refuse, succeed } from '../shared/core/result.ts';
import type { Plan } from '../shared/plan/plan.ts';
import { documentHashOf, parsePlan, planHashOf } from '../shared/plan/plan.ts';
import type { Policy } from '../shared/plan/policy.ts';
import { judgePlan } from '../shared/plan/policy.ts';
import { isMasked } from '../shared/plan/secure-aggregation.ts';
import type { BlobReference, Evaluate, Evaluation, Offer } from '../shared/protocol/messages.ts';
import type { Violation } from '../shared/protocol/violations.ts';
import type { MaskWork } from '../shared/secure-aggregation/mask-work.ts';
import type { Stage } from '../shared/secure-aggregation/stage.ts';
import { drawHashOf, maskedTermsOf, scaleUses, usesCarried } from '../shared/secure-aggregation/terms.ts';
import { type EvaluationCounts, noCounts } from '../shared/training/counts.ts';
import { bindTask } from '../shared/training/tasks/registry.ts';
import { contentFaultOf, contentOf } from '../shared/update/content.ts';
import { countRanges, type Exchange, exchangeOf, restarts } from '../shared/update/exchange.ts';
import { layoutDigest } from '../shared/update/layout.ts';
import { modelHashOf } from '../shared/update/model-hash.ts';
import { personalised, trainingStartOf } from '../shared/update/training-start.ts';
import { checkCounts, uploadOf } from '../shared/update/upload.ts';
import { firstNonFinite } from '../shared/update/vector.ts';
import { weightOf } from '../shared/update/weight.ts';
import { openBaseFiles } from './base-files.ts';
import type { ClientListener } from './events.ts';
import type { LearnedUpdate, Learner, PreparedLearning } from './learner.ts';
import { createMaskedWork, hasNativeAes, type JournalUnmask, type MaskedMember } from './masking/masked-work.ts';
import { type OwnParts, openOwnParts, ownPartsName } from './own-parts.ts';
import type { ContentCache, PersonalParts } from './platform/ports.ts';
import { openRecordCharges, type RecordCharges } from './record-charges.ts';
import type { PreparedFacts } from './session/checks.ts';
import { judgeBudget, judgeClip, judgeRank, judgeWeighting, siteWeightOf } from './site-terms.ts';
import type { Calls, RoundName } from './transport/calls.ts';
import type { FetchOptions } from './transport/download.ts';
import { fetchBlob } from './transport/download.ts';
import { uploadUpdate } from './transport/upload.ts';

/** What one client brings to every round. */
export interface RoundWorkOptions {
  readonly calls: Calls;
  /** Keeps plans and base files, which stay the same over rounds; adapters are kept in memory, the last one only. */
  readonly cache: ContentCache;
  readonly learner: Learner;
  readonly policy: Policy;
  readonly clock: Clock;
  readonly onEvent: ClientListener;
  /** Keeps what the plan leaves with this client. */
  readonly personal: PersonalParts;
  readonly entropy: Entropy;
  /** Who expands masks; default: the thread that asks. */
  readonly maskWork?: MaskWork;
  /** Who this client is in masked rounds. */
  readonly member: MaskedMember;
}

/** Facts for the session's checks, or the reasons of the site's policy. */
export type PrepareOutcome = Result<PreparedFacts, string>;

/** The work of rounds; `signal` ends whatever is under way, with its reason. */
export interface RoundWork {
  /** The hash under which the plan of an offer is approved; fetches the plan. @throws FederationError when it is none. */
  documentHashOf(offer: Offer, signal: AbortSignal): Promise<Digest>;
  /** Fetches and checks everything that an offer names. @throws FederationError when data, base or network fail. */
  prepare(offer: Offer, signal: AbortSignal): Promise<PrepareOutcome>;
  /** Tells the coordinator that this client takes part, and trains from the prepared adapter: what is to be sent; or the coordinator's refusal. */
  train(signal: AbortSignal): Promise<Result<LearnedUpdate, Violation>>;
  /** Sends the update of the prepared round: the receipt, or the coordinator's refusal. */
  upload(update: LearnedUpdate, signal: AbortSignal): Promise<Result<Digest, Violation>>;
  /** Takes part in the masked round that was prepared: null once the shares that open its sum were taken, else why it ended. */
  joinMasked(update: LearnedUpdate, journal: JournalUnmask, signal: AbortSignal): Promise<Result<null, Violation>>;
  readonly takeStage: (stage: Stage) => void;
  /** Whether this round was prepared last. */
  readonly knows: (roundHash: Digest) => boolean;
  /** Evaluates a candidate and sends the counts, or that there is nothing to disclose: whether counts were sent, or the refusal. */
  evaluate(request: Evaluate, signal: AbortSignal): Promise<Result<boolean, Violation>>;
  /** Frees the base. */
  readonly dispose: () => void;
}

/** A plan that this site's policy accepts, with the base loaded for it. */
interface ReadyPlan {
  readonly planHash: Digest;
  readonly learning: PreparedLearning;
  readonly exchange: Exchange;
  readonly own: OwnParts;
  readonly charges: RecordCharges;
  readonly plan: Plan;
  /** The seed of the plan, from which fresh start values come. */
  readonly seed: number;
}

/** The round in hand and the adapter that it starts from. */
interface ReadyRound {
  readonly offer: Offer;
  readonly start: Float32Array;
}

/** Milliseconds between two reports of progress: a coordinator needs a few per training time, to know whether waiting pays. */
const progressMs = 2_000;

/** The round of an offer as messages name it. */
export function roundNameOf({ roundHash, roundParams }: Offer): RoundName {
  return { roundHash, sessionId: roundParams.sessionId };
}

/** Nothing prepared yet. */
export function createRoundWork(options: RoundWorkOptions): RoundWork {
  const { calls, cache, learner, policy, clock, onEvent, personal } = options;
  const masking = createMaskedWork(options);
  const rankMax = policy.rankMax === 'none' ? null : policy.rankMax;
  let ready: ReadyPlan | null = null;
  let round: ReadyRound | null = null;
  /** What was trained for a masked round, in case that its attempt is repeated. */
  let trained: { readonly drawHash: Digest; readonly update: LearnedUpdate } | null = null;
  let lastPlan: { readonly digest: Digest; readonly plan: Plan } | null = null;
  let adapter: { readonly digest: Digest; readonly bytes: Uint8Array } | null = null;
  /** Contents of versions that this client saw, by model hash: what members of later phases are compared with. */
  const contentOfVersion = new Map<Digest, Digest>();
  /** Memory of the adapter before the last one: the next one is fetched into it, because nobody uses it any more. */
  let spare: Uint8Array | undefined;
  /** A candidate that was evaluated is the start of the next round: it is fetched once. */
  const lastAdapter: ContentCache = {
    get: async (digest) => (adapter?.digest === digest ? adapter.bytes : null),
    put: async (digest, bytes) => {
      spare = adapter?.bytes;
      adapter = { digest, bytes };
    },
  };

  const fetchNamed = (
    what: string,
    reference: BlobReference,
    from: Pick<FetchOptions, 'cache' | 'sizeMax' | 'signal' | 'isWhole' | 'into'>,
  ): Promise<Uint8Array> => {
    const onProgress = (bytes: number): void => onEvent({ type: 'downloaded', what, bytes, size: reference.size });
    return fetchBlob({ reference, calls, ...from, onProgress });
  };
  /** An adapter with its model hash, which `expected` names if nothing is wrong. */
  const fetchAdapter = async (
    reference: BlobReference,
    expected: Digest,
    {
      ready: { learning, plan },
      signal,
    }: { readonly ready: Pick<ReadyPlan, 'learning' | 'plan'>; readonly signal: AbortSignal },
  ): Promise<{ readonly bytes: Uint8Array; readonly modelHash: Digest }> => {
    const { baseDigest, layout } = learning;
    const sizeMax = 4 * layout.dim;
    if (reference.size !== sizeMax) {
      throw new FormatError('layout-mismatch', `an adapter has ${sizeMax} bytes, offered are ${reference.size}`);
    }
    let isExpected = false;
    const isWhole = (bytes: Uint8Array): boolean => {
      isExpected = modelHashOf(baseDigest, bytes) === expected;
      return isExpected;
    };
    const bytes = await fetchNamed('adapter', reference, { cache: lastAdapter, sizeMax, signal, isWhole, into: spare });
    const modelHash = isExpected ? expected : modelHashOf(baseDigest, bytes);
    if (plan.phase !== undefined)
      contentOfVersion.set(modelHash, contentOf({ baseDigest, layout, values: float32Of(bytes) }));
    return { bytes, modelHash };
  };

  /** Loads the base for a plan, unless it is loaded. */
  const makeReady = async (offer: Offer, plan: Plan, planHash: Digest, signal: AbortSignal): Promise<ReadyPlan> => {
    if (ready?.planHash === planHash && ready.learning.isLost?.() !== true) return ready;
    ready?.learning.dispose();
    ready = null;
    const base = await openBaseFiles(offer.base, {
      cache,
      fetch: (name, blob) => fetchNamed(`base/${name}`, blob, { cache, sizeMax: baseFileBytesMax, signal }),
    });
    const learning = await learner.prepare(plan, base.files).finally(base.close);
    try {
      const exchange = exchangeOf(plan.aggregation, learning.layout, learning.trainedLayout);
      const { federationId } = offer.roundParams;
      const own = await openOwnParts(personal, { exchange, name: ownPartsName(federationId, planHash) });
      const charges = await openRecordCharges(personal, federationId);
      ready = { planHash, learning, exchange, own, charges, plan, seed: plan.training.seed };
      return ready;
    } catch (thrown) {
      learning.dispose();
      throw thrown;
    }
  };

  /** Reports training to the owner always, to the coordinator seldom and without waiting for it. */
  const createReporter = (offer: Offer, signal: AbortSignal) => {
    let [dueMs, isUnderWay] = [clock.nowMs() + progressMs, false];
    return (progress: { readonly stepsDone: number; readonly stepCount: number; readonly loss: number }): void => {
      onEvent({ type: 'training', roundIndex: offer.roundParams.roundIndex, ...progress });
      if (isUnderWay || clock.nowMs() < dueMs) return;
      dueMs = clock.nowMs() + progressMs;
      isUnderWay = true;
      const settled = (): void => {
        isUnderWay = false;
      };
      // Lost or refused progress changes nothing: the update itself says it all.
      calls.reportProgress(offer.roundHash, progress, signal).then(settled, settled);
    };
  };

  /** The counts of a candidate on this site's held-out rows. */
  const measure = async (
    { learning, exchange, own, plan }: ReadyPlan,
    { adapter: reference, modelHash }: Evaluate,
    signal: AbortSignal,
  ): Promise<EvaluationCounts> => {
    const { bytes, modelHash: found } = await fetchAdapter(reference, modelHash, { ready: { learning, plan }, signal });
    if (found !== modelHash) {
      throw new FormatError('model-mismatch', `the candidate has model hash ${found}, the request says ${modelHash}`);
    }
    return learning.evaluate(personalised(exchange, float32Of(bytes), own.values()), signal);
  };

  /** The counts that may leave this site, or null. */
  const countsOf = async (request: Evaluate, signal: AbortSignal): Promise<Omit<Evaluation, 'roundHash'>> => {
    const { modelHash } = request;
    if (!policy.discloseMetrics || ready === null || ready.learning.heldOutCount === 0) {
      return { modelHash, exampleCount: 0, metrics: null };
    }
    const { exampleCount, ...metrics } = await measure(ready, request, signal);
    return { modelHash, exampleCount, metrics };
  };

  const fetchPlan = async ({ plan: reference }: Offer, signal: AbortSignal): Promise<Plan> => {
    if (lastPlan?.digest !== reference.digest) {
      const bytes = await fetchNamed('plan', reference, { cache, sizeMax: planBytesMax, signal });
      lastPlan = { digest: reference.digest, plan: readPlan(bytes) };
    }
    return lastPlan.plan;
  };

  return {
    documentHashOf: async (offer, signal) => documentHashOf(await fetchPlan(offer, signal)),
    prepare: async (offer, signal) => {
      round = null;
      const plan = await fetchPlan(offer, signal);
      const { roundIndex } = offer.roundParams;
      const verdict = judgePlan(policy, plan, { exampleCount: learner.exampleCount, roundIndex });
      if (!verdict.ok) return refuse(`${verdict.error.code}: ${verdict.error.reason}`);
      const planHash = planHashOf(plan);
      const { learning, exchange } = await makeReady(offer, plan, planHash, signal);
      const refusal =
        judgeRank(exchange, plan.adapter.method, rankMax) ??
        judgeWeighting(exchange, learning) ??
        judgeBudget(plan, exchange, roundIndex) ??
        judgeClip(policy, offer.roundParams);
      if (refusal !== null) return refuse(refusal);
      if (offer.roundParams.suite === 2 && !hasNativeAes)
        return refuse('suite 2 needs AES in hardware, which this site has not');
      const { baseDigest, layout } = learning;
      const expected = offer.roundParams.modelHash;
      const { bytes, modelHash } = await fetchAdapter(offer.adapter, expected, { ready: { learning, plan }, signal });
      round = { offer, start: float32Of(bytes) };
      const { dim } = exchange.uploaded;
      const terms = isMasked(plan) ? maskedTermsOf(plan, exchange) : null;
      const contentFault = contentFaultOf(plan.adapter, { baseDigest, layout, values: round.start, contentOfVersion });
      const facts = { planHash, baseDigest, layoutHash: layoutDigest(layout), dim, modelHash, terms, contentFault };
      return succeed(plan.phase === undefined ? facts : { ...facts, phase: plan.phase });
    },
    train: async (signal) => {
      assert(ready !== null && round !== null, 'training follows preparation');
      const { plan, learning, exchange, own, charges, seed } = ready;
      const { offer, start: published } = round;
      const accepted = await calls.accept(roundNameOf(offer), signal);
      if (!accepted.ok) return accepted;
      const { roundIndex } = offer.roundParams;
      const drawHash = drawHashOf(offer.roundParams);
      if (trained?.drawHash === drawHash) return succeed(trained.update);
      const values = restarts(exchange) ? await learning.initialise?.(seed + roundIndex) : undefined;
      const fresh = (): Float32Array => {
        assert(values !== undefined, 'a learner of a plan that begins afresh has start values');
        return values;
      };
      const before = own.values();
      const { start, frozen } = trainingStartOf(exchange, { published, rankMax, personal: before, fresh });
      const onProgress = createReporter(offer, signal);
      const charged = charges.values();
      const learned = await learning.train({ start, frozen, roundIndex, charges: charged, onProgress, signal });
      if (learned.charges !== undefined) await charges.keep(learned.charges);
      checkLearned(learned, exchange.trained.dim, offer);
      const { delta, counts = new Map<string, Float32Array>() } = learned;
      const weighed = { given: policy.weight, learning, published: personalised(exchange, published, before) };
      const siteWeight = await siteWeightOf(exchange, weighed, signal);
      const upload = uploadOf(exchange, { start, delta, counts, roundHash: drawHash, siteWeight });
      if (upload !== delta) checkFinite(upload);
      checkCounts(upload, countRanges(exchange, usesCarried(plan)));
      await own.keep(start, delta);
      const update = { ...learned, delta: upload };
      if (offer.roundParams.suite !== 0) trained = { drawHash, update };
      return succeed(update);
    },
    upload: (update, signal) => {
      assert(round !== null, 'an update belongs to the prepared round');
      const { roundIndex } = round.offer.roundParams;
      const size = update.delta.byteLength;
      return uploadUpdate({
        calls,
        round: roundNameOf(round.offer),
        update,
        discloseMetrics: policy.discloseMetrics,
        signal,
        onProgress: (bytes) => onEvent({ type: 'uploading', roundIndex, bytes, size }),
      });
    },
    joinMasked: (update, journal, signal) => {
      assert(ready !== null && round !== null, 'an update belongs to the prepared round');
      const { plan, exchange } = ready;
      const { delta, exampleCount, meanLoss } = update;
      const { roundIndex } = round.offer.roundParams;
      const values = delta.slice();
      scaleUses(exchange, values, 1 / plan.task.lengthMax);
      const weight = weightOf(plan.aggregation.weighting, exampleCount);
      const onProgress = (bytes: number, size: number): void => onEvent({ type: 'uploading', roundIndex, bytes, size });
      return masking.join(round.offer, { values, weight, exampleCount, meanLoss }, { journal, signal, onProgress });
    },
    takeStage: masking.take,
    knows: (roundHash) => round?.offer.roundHash === roundHash,
    evaluate: async (request, signal) => {
      assert(round?.offer.roundHash === request.roundHash, 'only the prepared round is evaluated');
      if (round.offer.roundParams.suite !== 0) {
        assert(ready !== null, 'a round that was prepared has its plan');
        const measured = ready.learning.heldOutCount === 0 ? null : await measure(ready, request, signal);
        const counts = measured ?? noCounts(bindTask(ready.plan.task).shape);
        const sent = await masking.evaluate(round.offer, request, counts, signal);
        return sent.ok ? succeed(false) : sent;
      }
      const evaluation = await countsOf(request, signal);
      const sent = await calls.sendEvaluation(roundNameOf(round.offer), evaluation, signal);
      return sent.ok ? succeed(evaluation.metrics !== null) : sent;
    },
    dispose: () => {
      ready?.learning.dispose();
      ready = null;
      round = null;
    },
  };
}

/** The plan of the coordinator's bytes. @throws FederationError when it is none that this client understands. */
function readPlan(bytes: Uint8Array): Plan {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError('bad-plan', `the plan of the coordinator is no JSON: ${errorMessage(cause)}`, { cause });
  }
  return parsePlan(value, 'the plan of the coordinator');
}

/** What no coordinator would take is not sent, and costs no contribution. @throws FederationError. */
function checkLearned({ delta, exampleCount, meanLoss, seconds }: LearnedUpdate, dim: number, offer: Offer): void {
  // The weight of a masked update is capped when it is encoded.
  const weightMax = offer.roundParams.suite === 0 ? offer.roundParams.weightMax : Number.MAX_SAFE_INTEGER;
  assert(delta.length === dim, `a delta has the ${dim} values of the layout, found ${delta.length}`);
  const isCount = Number.isSafeInteger(exampleCount) && exampleCount >= 1 && exampleCount <= weightMax;
  assert(isCount, `an update counts 1 to ${weightMax} rows, found ${exampleCount}`);
  checkFinite(delta);
  if (!Number.isFinite(meanLoss) || !Number.isFinite(seconds)) throw diverged(`the mean loss is ${meanLoss}`);
}

function checkFinite(values: Float32Array): void {
  const place = firstNonFinite(values);
  if (place !== null) throw diverged(`value ${place} of ${values.length} is not finite`);
}

function diverged(found: string): FederationError {
  return new FederationError('training-diverged', `training diverged: ${found}; ask for a lower learning rate`);
}
