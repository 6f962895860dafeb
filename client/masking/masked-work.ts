/**
 * A client's part in the masked rounds of a federation: says that it is ready, encodes its contribution and takes part in the attempt; the same
 * for the counts of an evaluation. The site's own policy holds beside what the round says, whichever is stricter.
 */
import type { LogHead } from '../../shared/audit/checkpoint.ts';
import { assert } from '../../shared/core/assert.ts';
import { concatBytes, fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import type { Entropy } from '../../shared/core/ports.ts';
import type { Result } from '../../shared/core/result.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import type { Identity } from '../../shared/crypto/identity.ts';
import { deriveKey } from '../../shared/crypto/key-derivation.ts';
import { createKeyStream, type MaskedSuite } from '../../shared/crypto/key-stream.ts';
import type { Policy } from '../../shared/plan/policy.ts';
import type { Evaluate, Offer } from '../../shared/protocol/messages.ts';
import { groupSizeOfRound } from '../../shared/protocol/round-params.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import { type Contribution, encodeContribution } from '../../shared/secure-aggregation/contribution.ts';
import type { Grouping } from '../../shared/secure-aggregation/division.ts';
import { encodeEvaluation } from '../../shared/secure-aggregation/evaluation-words.ts';
import { type MaskWork, maskHere } from '../../shared/secure-aggregation/mask-work.ts';
import type { JudgeCertificate } from '../../shared/secure-aggregation/members.ts';
import type { Stage } from '../../shared/secure-aggregation/stage.ts';
import { encodingOf, evaluationHashOf } from '../../shared/secure-aggregation/terms.ts';
import { clientCountFloor, type Profile } from '../../shared/secure-aggregation/threshold.ts';
import type { EvaluationCounts } from '../../shared/training/counts.ts';
import type { Calls } from '../transport/calls.ts';
import { runAttempt } from './attempt.ts';
import type { AttemptSetting } from './attempt-machine.ts';
import { createStageQueue, type StageQueue } from './stage-queue.ts';

/** Who a client is in masked rounds. */
export interface MaskedMember {
  readonly identity: Identity;
  readonly federationId: FederationId;
  /** Its certificate of membership; empty where the coordinator vouches for it. */
  readonly certificate: Uint8Array;
  readonly judgeCertificate: JudgeCertificate;
  /** The newest checkpoint of the coordinator's log that held. */
  readonly logHead: () => LogHead;
  /** 32 secret bytes that belong to this client, from which it rounds; never sent. */
  readonly roundingSecret: Uint8Array;
}

/** What {@link createMaskedWork} needs. */
export interface MaskedWorkOptions {
  readonly member: MaskedMember;
  readonly calls: Calls;
  readonly policy: Policy;
  readonly entropy: Entropy;
  /** Who expands masks; default: the thread that asks. */
  readonly maskWork?: MaskWork;
}

/** Makes durable that a round number is unmasked; whether it is the first time. */
export type JournalUnmask = (offer: Offer) => Promise<boolean>;

/** How {@link MaskedWork.join} is told to work. */
export interface JoinOptions {
  readonly journal: JournalUnmask;
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number, size: number) => void;
}

/** Masked rounds of one client. */
export interface MaskedWork {
  /** Takes part in the attempt of an offer: null once the shares that open the sum were taken, else why it ended. */
  join(offer: Offer, contribution: Contribution, options: JoinOptions): Promise<Result<null, Violation>>;
  /** Takes part in the masked evaluation of a candidate. */
  evaluate(
    offer: Offer,
    request: Evaluate,
    counts: EvaluationCounts,
    signal: AbortSignal,
  ): Promise<Result<null, Violation>>;
  /** Hands on what the coordinator says; of an attempt in which this client takes no part it is dropped. */
  take(stage: Stage): void;
}

/** Whether this place runs AES in hardware. */
export const hasNativeAes = engineCrypto !== null;

/** The stricter of the round's profile and the site's own. */
function stricterProfile(round: number, policy: Policy): Profile {
  return round === 0 && policy.maskedProfile === 'semi-honest' ? 'semi-honest' : 'active';
}

/** How a round is divided, if it is: what this site demands of a round holds for its group. */
function groupingOf(params: Offer['roundParams'], policy: Policy): Grouping | null {
  const size = groupSizeOfRound(params);
  return size === null ? null : { size, clientCountMin: Math.max(policy.quorumMin, clientCountFloor) };
}

/** Bytes from which a client rounds in one round: the same in every attempt, so that a repeated one encodes the same integers (amendment 3). */
function roundingKeyOf(secret: Uint8Array, { planHash, roundIndex }: Offer['roundParams']): Uint8Array {
  const index = new Uint8Array(4);
  new DataView(index.buffer).setUint32(0, roundIndex, true);
  return deriveKey({ secret, salt: fromHex(planHash), info: concatBytes(utf8('TRIB/rounding'), index) });
}

/** No attempt yet. */
export function createMaskedWork(options: MaskedWorkOptions): MaskedWork {
  const { member, calls, policy, entropy, maskWork = maskHere } = options;
  const { identity, judgeCertificate, roundingSecret } = member;
  const queues = new Map<Digest, StageQueue>();
  let shownCertificate = member.certificate;
  let lastEvaluated = -1;

  const settingOf = ({ roundParams }: Offer, roundHash: Digest): AttemptSetting => ({
    roundHash,
    profile: stricterProfile(roundParams.profile, policy),
    clientCountMin: Math.max(roundParams.clientCountMin, policy.quorumMin, clientCountFloor),
    clientCountMax: roundParams.clientCountMax,
    organisationCountMin: Math.max(roundParams.organisationCountMin, policy.organisationsMin),
    clientId: identity.clientId,
    certificateHash: digestOf(shownCertificate),
    checkpoint: member.logHead(),
    judgeCertificate,
    entropy,
    grouping: groupingOf(roundParams, policy),
  });
  /** Runs an attempt with a queue of its own, which hears stages from before the coordinator can know of this client. */
  const within = async <Value>(hash: Digest, work: (stages: StageQueue) => Promise<Value>): Promise<Value> => {
    const stages = createStageQueue();
    queues.set(hash, stages);
    try {
      return await work(stages);
    } finally {
      if (queues.get(hash) === stages) queues.delete(hash);
    }
  };

  return {
    join: (offer, contribution, { journal, signal, onProgress }) => {
      const { roundHash, roundParams } = offer;
      return within(roundHash, async (stages) => {
        const { sessionId, suite } = roundParams;
        const ready = { certificate: member.certificate, nativeAes: hasNativeAes ? 1 : 0 };
        const shown = await calls.sendReady({ roundHash, sessionId }, ready, signal);
        if (!shown.ok) return shown;
        shownCertificate = Uint8Array.from(shown.value);
        await stages.next(['open'], signal);
        return runAttempt({
          setting: settingOf(offer, roundHash),
          suite: suite as MaskedSuite,
          maskWork,
          ...{ identity, calls, stages, signal, onProgress },
          vector: () => {
            const key = roundingKeyOf(roundingSecret, roundParams);
            const rounding = createKeyStream(1, key);
            key.fill(0);
            const vector = encodeContribution(contribution, encodingOf(roundParams), rounding);
            rounding.wipe();
            return vector;
          },
          journal: () => journal(offer),
        });
      });
    },
    evaluate: (offer, { roundHash, modelHash }, counts, signal) => {
      const { suite, roundIndex } = offer.roundParams;
      assert(offer.roundHash === roundHash, 'only the prepared round is evaluated');
      const hash = evaluationHashOf(roundHash, modelHash);
      return within(hash, (stages) =>
        runAttempt({
          setting: settingOf(offer, hash),
          suite: suite as MaskedSuite,
          maskWork,
          ...{ identity, calls, stages, signal },
          vector: () => ({ coordinates: encodeEvaluation(counts), tail: new Uint32Array(0) }),
          // One evaluation per round number; a client that was started again does not evaluate rounds that it did not prepare.
          journal: async () => {
            if (roundIndex <= lastEvaluated) return false;
            lastEvaluated = roundIndex;
            return true;
          },
        }),
      );
    },
    take: ({ roundHash, event }) => queues.get(roundHash)?.push(event),
  };
}
