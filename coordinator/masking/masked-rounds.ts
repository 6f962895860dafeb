/**
 * Masked rounds of one federation: opens attempts and masked evaluations, goes on with an attempt that outlived its coordinator, and decodes
 * what was opened.
 */
import { assert } from '../../shared/core/assert.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import type { MaskedSuite } from '../../shared/crypto/key-stream.ts';
import { checkEvaluation } from '../../shared/protocol/check-evaluation.ts';
import {
  decodeRoundParams,
  encodeRoundParams,
  groupSizeOfRound,
  type RoundParams,
  roundHashOf,
} from '../../shared/protocol/round-params.ts';
import { decodeEvaluation, evaluationWordCount } from '../../shared/secure-aggregation/evaluation-words.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import type { RingBits } from '../../shared/secure-aggregation/ring.ts';
import { sealStage } from '../../shared/secure-aggregation/stage.ts';
import { evaluationHashOf } from '../../shared/secure-aggregation/terms.ts';
import { clientCountFloor } from '../../shared/secure-aggregation/threshold.ts';
import { type VectorShape, vectorBytesOf } from '../../shared/secure-aggregation/vector-bytes.ts';
import { type EvaluationCounts, mergeCounts } from '../../shared/training/counts.ts';
import { bindTask } from '../../shared/training/tasks/registry.ts';
import { contradicted } from '../audit/contradiction.ts';
import type { CoordinatorListener } from '../events.ts';
import type { RoundPorts } from '../round-work.ts';
import { createUploads } from '../rounds/uploads.ts';
import { createMemoryBlobs } from '../store/blob-memory.ts';
import type { AttemptRecord } from '../store/store.ts';
import { type Attempt, type AttemptEnd, createAttempt, phaseAfter } from './attempt.ts';
import type { AttemptSetting } from './attempt-machine.ts';
import { membershipOf, rosterFacts } from './membership.ts';
import { type OpenedRound, openRound } from './opened-round.ts';

/** The masked part of the round in hand. One owner: the driver. */
export interface MaskedRound {
  readonly params: RoundParams;
  /** Certificates that clients brought when they were ready. */
  readonly certificates: Map<ClientId, Uint8Array>;
  attempt: Attempt | null;
  evaluation: Attempt | null;
  opened: OpenedRound | null;
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
  /** Opens and decodes the sums into `masked`: what there is to aggregate. @throws FederationError when no honest clients can have made it; StoreError. */
  takeSums(masked: MaskedRound, end: Extract<AttemptEnd, { kind: 'opened' }>): Promise<OpenedRound>;
  /** Decodes an opened evaluation into `masked`; one that contradicts itself is left out and reported. */
  takeEvaluation(masked: MaskedRound, end: Extract<AttemptEnd, { kind: 'opened' }>): Promise<void>;
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

/** What the parameters of a round demand of an attempt. */
export function attemptSettingOf(
  params: RoundParams,
  judgeCertificate: JudgeCertificate,
): Omit<AttemptSetting, 'roundHash' | 'invited' | 'vectorBytes'> {
  const { clientCountMin, clientCountMax, organisationCountMin, profile } = params;
  const size = groupSizeOfRound(params);
  return {
    profile: profile === 1 ? 'active' : 'semi-honest',
    ...{ clientCountMin, clientCountMax, organisationCountMin, judgeCertificate },
    // Sites may demand more of their groups, and then leave those that have less.
    grouping: size === null ? null : { size, clientCountMin: clientCountFloor },
  };
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
    params: RoundParams,
    { roundHash, shape, invited }: Pick<BeginOptions, 'roundHash' | 'shape' | 'invited'>,
  ): AttemptSetting => ({
    ...attemptSettingOf(params, membership.judge),
    roundHash,
    invited,
    vectorBytes: vectorBytesOf(shape),
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
        drawing: params.sharesMs,
        sharing: params.sharesMs,
        agreeing: params.agreeMs,
        unmasking: params.unmaskMs,
      },
      clock,
      uploads,
      blobs: storage.blobs,
      memberOf: (clientId) => factsOf(clientId, certificates.get(clientId) ?? new Uint8Array(0)),
      onContradiction: (found) => ports.note(contradicted(found)),
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
    takeSums: async (masked, { sums, groupCount }) => {
      masked.opened = await openRound({ plan, exchange, params: masked.params, sums, groupCount, blobs });
      return masked.opened;
    },
    takeEvaluation: async (masked, { sums }) => {
      const groups: EvaluationCounts[] = [];
      for (const sum of sums) {
        const { coordinates } = await sum.open();
        groups.push(decodeEvaluation(Uint32Array.from(coordinates), countShape));
      }
      const { exampleCount, ...metrics } = mergeCounts(groups, countShape);
      const refused = checkEvaluation({ exampleCount, metrics }, countShape);
      if (refused !== null) onEvent({ type: 'rejected', clientId: null, code: refused.code, detail: refused.detail });
      else if (exampleCount > 0) masked.evaluated = { exampleCount, ...metrics };
    },
    certificateOf: async (clientId, brought) => (await factsOf(clientId, brought)).certificate,
  };
}

/** Vectors of an evaluation stay in memory: it is not repeated after a restart, and none of it is kept. */
function memoryStorage() {
  return { store: { addUpdate: async <Update>(update: Update) => update }, blobs: createMemoryBlobs() };
}
