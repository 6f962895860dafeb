/**
 * Bodies of signed messages: what each says, with its canonical format. A body is encoded once, hashed, signed and sent as it is; the
 * receiver decodes the very bytes that the signature covers.
 */
import { chunkBytesMax } from '../core/limits.ts';
import { bytes, f64, raw, u8, u16, u32, u53, type ValueOf } from './canonical.ts';
import { clientId, digest, federationId, list, maybe, oneOf, structure, text } from './canonical-compound.ts';

/** Chunks of one update: the largest adapter at the chunk size. */
const updateChunksMax = Math.ceil((4 * 2 ** 26) / chunkBytesMax);
/** Labels of one task: three counts of each stay far below one message. */
const labelsMax = 16_384;
/** Bins of a score histogram, and score histograms of one evaluation. */
const binsMax = 4096;
const histogramsMax = 64;
/** Bins of the probabilities of decisions. */
const calibrationBinsMax = 256;
/** Files of a base model. */
const baseFilesMax = 64;

const blobReference = structure({
  digest,
  /** Bytes. */
  size: u53,
  root: digest,
});
/** Content by its SHA-256, its size in bytes, and the root of its chunk digests (`vectorRoot`). */
export type BlobReference = ValueOf<typeof blobReference>;

/** M0, signed `OFFER`: take part in this round. */
export const offerFormat = structure({
  /** Canonical bytes of {@link RoundParams}; their hash is the round's. */
  roundParams: bytes(1024),
  plan: blobReference,
  base: list(structure({ name: text(255), blob: blobReference }), baseFilesMax),
  adapter: blobReference,
});
/** What a round needs: its parameters and where the plan, the files of the base and the adapter are found. */
export type OfferBody = ValueOf<typeof offerFormat>;

/** Signed `EVALUATE`: measure this candidate on held-out rows. */
export const evaluateFormat = structure({ roundHash: digest, modelHash: digest, adapter: blobReference });
/** Which adapter to measure, for which round. */
export type Evaluate = ValueOf<typeof evaluateFormat>;

/** R5, signed `RESULT`: the round is published. */
export const resultFormat = structure({
  roundHash: digest,
  roundIndex: u32,
  /** Hash of the version record (`resultHashOf`). */
  resultHash: digest,
  newModelHash: digest,
  contributorCount: u32,
  /** Sum of the weights of the contributors. */
  totalWeight: f64,
  transcriptHash: digest,
});
/** How a round ended. */
export type RoundResult = ValueOf<typeof resultFormat>;

/** In an envelope, signed `ACCEPT`: this client takes part. */
export const acceptFormat = structure({ roundHash: digest });
/** Agreement to take part. */
export type Accept = ValueOf<typeof acceptFormat>;

/** Why a client does not take part. */
export const declineCodes = [
  'wrong-federation',
  'unsupported-suite',
  'stale-round',
  'model-discontinuity',
  'plan-mismatch',
  'policy-refused',
  'base-mismatch',
  'layout-mismatch',
  'model-mismatch',
  'training-failed',
] as const;
/** Code of a refusal to take part. */
export type DeclineCode = (typeof declineCodes)[number];

/** In an envelope, signed `DECLINE`: this client does not take part. */
export const declineFormat = structure({ roundHash: digest, code: oneOf(declineCodes), reason: text(4000) });
/** A refusal to take part with its reason for people. */
export type Decline = ValueOf<typeof declineFormat>;

/** In an envelope, signed `UPDATE` (M3 of suite 0): what follows in chunks. */
export const updateFormat = structure({
  roundHash: digest,
  vecRoot: digest,
  chunkDigests: list(digest, updateChunksMax),
  /** Rows that the client trained on, its weight in the mean. */
  exampleCount: u32,
  /** Mean training loss; null unless the site's policy discloses metrics. */
  trainLoss: maybe(f64),
  /** Seconds of local training. */
  seconds: f64,
});
/** Announcement of an update; the signature binds every chunk through its digest. */
export type Update = ValueOf<typeof updateFormat>;

/** In an envelope, signed `READY`: this client has trained and is there for the masked round. */
export const readyFormat = structure({
  roundHash: digest,
  /** Its certificate of membership; empty where the coordinator vouches for clients. */
  certificate: bytes(4096),
  /** 1 where AES runs in hardware: rounds take suite 2 only where all have it. */
  nativeAes: u8,
});
/** That a client waits for the masked round. */
export type Ready = ValueOf<typeof readyFormat>;

const counts = list(u32, labelsMax);
const nameCounts = structure({ truth: counts, predicted: counts, correct: counts });
const evaluationCounts = structure({
  /** What is scored once: a row, a word, a token. */
  targetCount: u32,
  rightCount: u32,
  lossSum: f64,
  squaredErrorSum: f64,
  labels: nameCounts,
  entities: nameCounts,
  histograms: list(structure({ positive: list(u32, binsMax), negative: list(u32, binsMax) }), histogramsMax),
  calibration: structure({
    decisions: list(u32, calibrationBinsMax),
    right: list(u32, calibrationBinsMax),
    probabilitySums: list(f64, calibrationBinsMax),
  }),
});

/** In an envelope, signed `EVALUATION`: what the candidate did on this site's held-out rows. */
export const evaluationFormat = structure({
  roundHash: digest,
  modelHash: digest,
  /** Held-out rows; 0 where the policy discloses nothing. */
  exampleCount: u32,
  /** Counts that add up over sites; null where the policy discloses nothing. */
  metrics: maybe(evaluationCounts),
});
/** An evaluation by one site. */
export type Evaluation = ValueOf<typeof evaluationFormat>;

/** Signed `CHALLENGE` by the coordinator. */
export const challengeFormat = structure({ serverNonce: raw(32), serverTimeMs: u53, federationId });

/** Signed `ENROL` by the key that is to be enrolled: whoever holds the token also holds the key. */
export const enrolFormat = structure({ tokenHash: digest, publicKey: raw(32), federationId });

/** Signed `AUTH` by the client. */
export const authFormat = structure({
  serverNonce: raw(32),
  clientNonce: raw(32),
  coordinatorKey: raw(32),
  namespace: text(64),
  clientId,
  timestampMs: u53,
  protocol: u16,
});

/** Whether a federation still has rounds to come. */
export const federationStatuses = ['running', 'completed', 'stopped'] as const;
/** Status of a federation. */
export type FederationStatus = (typeof federationStatuses)[number];

/** Signed `WELCOME` by the coordinator: its answer to a client's nonce. */
export const welcomeFormat = structure({
  serverNonce: raw(32),
  clientNonce: raw(32),
  federationId,
  clientId,
  status: oneOf(federationStatuses),
});
/** The coordinator's proof of itself. */
export type Welcome = ValueOf<typeof welcomeFormat>;
