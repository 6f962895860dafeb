/**
 * Masked rounds of one federation: opens attempts and masked evaluations, goes on with an attempt that outlived its coordinator, and decodes
 * what was opened.
 */
import { assert } from '../../shared/core/assert.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { FederationError } from '../../shared/core/errors.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import { checkEvaluation } from '../../shared/protocol/check-evaluation.ts';
import {
  decodeRoundParams,
  encodeRoundParams,
  type RoundParams,
  roundHashOf,
} from '../../shared/protocol/round-params.ts';
import { decodeContributions, type OpenedContribution } from '../../shared/secure-aggregation/contribution.ts';
import { decodeEvaluation, evaluationWordCount } from '../../shared/secure-aggregation/evaluation-words.ts';
import type { RingBits } from '../../shared/secure-aggregation/ring.ts';
import type { ServerSetting } from '../../shared/secure-aggregation/server-state.ts';
import { sealStage } from '../../shared/secure-aggregation/stage.ts';
import { encodingOf, evaluationHashOf, scaleUses } from '../../shared/secure-aggregation/terms.ts';
import { type VectorShape, vectorBytesOf } from '../../shared/secure-aggregation/vector-bytes.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import type { CoordinatorListener } from '../events.ts';
import type { RoundPorts } from '../round-work.ts';
import { createUploads } from '../rounds/uploads.ts';
import { createMemoryBlobs } from '../store/blob-memory.ts';
import type { AttemptRecord } from '../store/store.ts';
import { type Attempt, type AttemptEnd, createAttempt, phaseAfter } from './attempt.ts';
import { membershipOf, rosterFacts } from './membership.ts';

/** The masked part of the round in hand. One owner: the driver. */
export interface MaskedRound {
  readonly params: RoundParams;
  /** Certificates that clients brought when they were ready. */
  readonly certificates: Map<ClientId, Uint8Array>;
  attempt: Attempt | null;
  evaluation: Attempt | null;
  opened: OpenedContribution | null;
  /** What all sites counted together. */
  evaluated: EvaluationCounts | null;
}

/** What masked rounds need beside {@link RoundPorts}. */
export interface MaskedPorts extends RoundPorts {
  /** Sends the frame of a stage. */
  readonly sendStage: (clientId: ClientId, frame: Uint8Array) => void;
  readonly onEvent: CoordinatorListener;
}

/** An attempt as the store keeps it. */
export interface StoredAttempt {
  readonly attempt: AttemptRecord;
  readonly messages: readonly string[];
}

/** Work on masked rounds. */
export interface MaskedRounds {
  /** Makes an attempt durable and begins it. */
  open(masked: MaskedRound, asked: readonly ClientId[], invited: readonly ClientId[]): Promise<Attempt>;
  /** Whether the survivors of a durable attempt are fixed, so that its sum can be opened after a restart. */
  isOpenable(stored: StoredAttempt): boolean;
  /** Goes on with a durable attempt. */
  resume(masked: MaskedRound, stored: StoredAttempt): Attempt;
  /** Begins the masked evaluation of a candidate. */
  openEvaluation(masked: MaskedRound, modelHash: Digest, invited: readonly ClientId[]): Attempt;
  /** Decodes an opened sum into `masked`. @throws FederationError when no honest clients can have made it. */
  takeSum(masked: MaskedRound, end: Extract<AttemptEnd, { kind: 'opened' }>): void;
  /** Decodes an opened evaluation into `masked`; one that contradicts itself is left out and reported. */
  takeEvaluation(masked: MaskedRound, end: Extract<AttemptEnd, { kind: 'opened' }>): void;
  /** The certificate under which rosters show a client. */
  certificateOf(clientId: ClientId, brought: Uint8Array): Promise<Uint8Array>;
}

/** The masked part of a round with these parameters. */
export function startMasked(params: RoundParams): MaskedRound {
  return { params, certificates: new Map(), attempt: null, evaluation: null, opened: null, evaluated: null };
}

/** The parameters of a durable attempt. */
export function paramsOfAttempt({ roundParams }: AttemptRecord): RoundParams {
  const params = decodeRoundParams(fromHex(roundParams));
  assert(params.ok, 'a durable attempt has parameters of this version');
  return params.value;
}

interface BeginOptions {
  readonly roundHash: Digest;
  readonly shape: VectorShape;
  readonly invited: readonly ClientId[];
  readonly deadlinesMs: { readonly advertising: number; readonly collecting: number };
  readonly history: readonly string[];
  readonly isDurable: boolean;
}

/** Name and size of the vectors of an attempt. */
function attemptOf(params: RoundParams): Pick<BeginOptions, 'roundHash' | 'shape'> {
  const { ringBits, dim, tail } = params;
  return { roundHash: roundHashOf(encodeRoundParams(params)), shape: { ringBits: ringBits as RingBits, dim, tail } };
}

/** Masked rounds of one federation. */
export function createMaskedRounds(ports: MaskedPorts): MaskedRounds {
  const { plan, record, exchange, store, blobs, identity, clock, sendStage, onEvent } = ports;
  const membership = membershipOf(identity, record.federationId, ports.certificates);
  const { shape: countShape } = bindTask(plan.task);

  const factsOf = async (clientId: ClientId, brought: Uint8Array) => {
    const client = await store.client(clientId);
    assert(client !== null, 'a client that takes part is enrolled');
    return rosterFacts(membership, client, brought);
  };
  const settingOf = (
    { clientCountMin, clientCountMax, organisationCountMin, profile }: RoundParams,
    { roundHash, shape, invited }: Pick<BeginOptions, 'roundHash' | 'shape' | 'invited'>,
  ): ServerSetting => ({
    roundHash,
    profile: profile === 1 ? 'active' : 'semi-honest',
    ...{ clientCountMin, clientCountMax, organisationCountMin, invited },
    vectorBytes: vectorBytesOf(shape),
    judgeCertificate: membership.judge,
  });
  const begin = (
    { params, certificates }: MaskedRound,
    { roundHash, shape, invited, deadlinesMs, history, isDurable }: BeginOptions,
  ): Attempt => {
    const { roundIndex, dim, weightMax } = params;
    const setting = settingOf(params, { roundHash, shape, invited });
    const storage = isDurable ? { store, blobs } : memoryStorage();
    const uploads = createUploads({
      demands: { roundIndex, roundHash, dim, weightMax, maskedBytes: setting.vectorBytes },
      ...storage,
    });
    return createAttempt({
      setting,
      shape,
      suite: params.suite as MaskedSuite,
      deadlinesMs: {
        ...deadlinesMs,
        sharing: params.sharesMs,
        agreeing: params.agreeMs,
        unmasking: params.unmaskMs,
      },
      clock,
      uploads,
      blobs: storage.blobs,
      memberOf: (clientId) => factsOf(clientId, certificates.get(clientId) ?? new Uint8Array(0)),
      persist: (message) => (isDurable ? store.addAttemptMessage(roundIndex, message) : Promise.resolve()),
      history,
      send: (clientId, event) => sendStage(clientId, sealStage(identity, { roundHash, event })),
      onStage: (stage, clients) =>
        onEvent({ type: 'masking', roundIndex, of: isDurable ? 'update' : 'evaluation', stage, clients }),
    });
  };
  const beginUpdate = (masked: MaskedRound, { invited }: AttemptRecord, history: readonly string[]): Attempt => {
    const { sharesMs, trainMs } = masked.params;
    masked.attempt = begin(masked, {
      ...attemptOf(masked.params),
      invited,
      deadlinesMs: { advertising: sharesMs, collecting: trainMs },
      history,
      isDurable: true,
    });
    return masked.attempt;
  };

  return {
    open: async (masked, asked, invited) => {
      const { roundIndex } = masked.params;
      const attempt = { roundIndex, roundParams: toHex(encodeRoundParams(masked.params)), asked, invited };
      await store.openAttempt(attempt);
      return beginUpdate(masked, attempt, []);
    },
    isOpenable: ({ attempt, messages }) => {
      const params = paramsOfAttempt(attempt);
      const phase = phaseAfter(settingOf(params, { ...attemptOf(params), invited: attempt.invited }), messages);
      return phase === 'agreeing' || phase === 'unmasking' || phase === 'opened';
    },
    resume: (masked, { attempt, messages }) => beginUpdate(masked, attempt, messages),
    openEvaluation: (masked, modelHash, invited) => {
      const { sharesMs } = masked.params;
      masked.evaluation = begin(masked, {
        roundHash: evaluationHashOf(roundHashOf(encodeRoundParams(masked.params)), modelHash),
        shape: { ringBits: 32, dim: evaluationWordCount(countShape), tail: 0 },
        invited,
        deadlinesMs: { advertising: plan.rounds.evaluateSeconds * 1000, collecting: sharesMs },
        history: [],
        isDurable: false,
      });
      return masked.evaluation;
    },
    takeSum: (masked, { sum, contributors }) => {
      const opened = decodeContributions(sum, encodingOf(masked.params), contributors.length);
      if (opened === null) {
        const detail = 'the masked sum holds values that its clients cannot have sent, or no weight at all';
        throw new FederationError('sum-out-of-range', `${detail}; its round is void`);
      }
      scaleUses(exchange, opened.mean, plan.task.lengthMax);
      masked.opened = opened;
    },
    takeEvaluation: (masked, { sum }) => {
      const { exampleCount, ...metrics } = decodeEvaluation(Uint32Array.from(sum.coordinates), countShape);
      const { roundIndex } = masked.params;
      const refused = checkEvaluation({ exampleCount, metrics }, countShape);
      if (refused !== null) onEvent({ type: 'rejected', clientId: null, code: refused.code, detail: refused.detail });
      else if (exampleCount > 0) masked.evaluated = { exampleCount, ...metrics };
      assert(roundIndex >= 0, 'an evaluation is of a round');
    },
    certificateOf: async (clientId, brought) => (await factsOf(clientId, brought)).certificate,
  };
}

/** Vectors of an evaluation stay in memory: it is not repeated after a restart, and none of it is kept. */
function memoryStorage() {
  return { store: { addUpdate: async <Update>(update: Update) => update }, blobs: createMemoryBlobs() };
}
