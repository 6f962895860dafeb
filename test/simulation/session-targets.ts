/** Decoders of what coordinator and clients say to each other between enrolment and the end of a federation. */
import * as z from 'zod/mini';
import { openRecordCharges } from '../../client/record-charges.ts';
import { readIncoming } from '../../client/transport/incoming.ts';
import { fromHex, utf8 } from '../../shared/core/bytes.ts';
import type { SessionId } from '../../shared/core/ids.ts';
import { openWithdrawal, sealWithdrawal } from '../../shared/identity/withdrawal.ts';
import { acceptFormat } from '../../shared/protocol/bodies.ts';
import { openCanaryRecord, sealCanaryRecord } from '../../shared/protocol/canary-record.ts';
import { decodeMessage, decodeReply, encodeMessage } from '../../shared/protocol/codec.ts';
import { openEnvelope, sealEnvelope } from '../../shared/protocol/envelope.ts';
import {
  checkAuth,
  openAuth,
  openChallenge,
  openEnrolment,
  openWelcome,
  sealAuth,
  sealChallenge,
  sealEnrolment,
  sealWelcome,
} from '../../shared/protocol/handshake.ts';
import {
  openEvaluate,
  openOffer,
  openResult,
  plainCalls,
  replies,
  sealEvaluate,
  sealOffer,
  sealResult,
} from '../../shared/protocol/messages.ts';
import { openVersionRecord } from '../../shared/protocol/version-record.ts';
import { openVoid, sealVoid } from '../../shared/protocol/void-record.ts';
import { protocolVectors } from '../vectors/vectors.ts';
import {
  type ByteTarget,
  someDigest as digest,
  someFederation as federationId,
  signedTargets,
  signer,
  type ValueTarget,
} from './fuzz-target.ts';

const nonce = new Uint8Array(32).fill(3);
const { publicKey, clientId } = signer;
const blob = { digest, size: 10, root: digest };
const sessionId = '5e'.repeat(16) as SessionId;

function coordinatorTargets(): ByteTarget[] {
  const facts = { coordinatorKey: publicKey, knows: () => true };
  const offer = sealOffer(signer, {
    roundParams: protocolVectors.roundParams.value,
    plan: blob,
    base: [{ name: 'config.json', blob }],
    adapter: blob,
  });
  const evaluate = sealEvaluate(signer, { roundHash: digest, modelHash: digest, adapter: blob });
  const result = sealResult(signer, {
    roundHash: digest,
    roundIndex: 3,
    resultHash: digest,
    newModelHash: digest,
    contributorCount: 4,
    totalWeight: 1234.5,
    transcriptHash: digest,
  });
  const ended = sealVoid(signer, {
    federationId,
    roundHash: digest,
    roundIndex: 1,
    nextRoundIndex: 2,
    modelHash: digest,
    reason: 'too few',
    createdAtMs: 5,
  });
  const connection = { serverNonce: nonce, clientNonce: nonce, federationId, clientId };
  const welcome = sealWelcome(signer, { ...connection, status: 'running' });
  return [
    ...signedTargets('offer', { type: 'OFFER', frame: offer, open: (frame) => openOffer(publicKey, frame) }),
    ...signedTargets('evaluate', {
      type: 'EVALUATE',
      frame: evaluate,
      open: (frame) => openEvaluate(publicKey, frame),
    }),
    ...signedTargets('result', { type: 'RESULT', frame: result, open: (frame) => openResult(publicKey, frame) }),
    ...signedTargets('void round', { type: 'VOID', frame: ended, open: (frame) => openVoid(publicKey, frame) }),
    ...signedTargets('welcome', {
      type: 'WELCOME',
      frame: welcome,
      open: (frame) => openWelcome(publicKey, frame, connection),
    }),
    ...(
      [
        ['offer', offer],
        ['evaluate', evaluate],
        ['result', result],
        ['void', ended],
        ['finished', encodeMessage({ status: 'completed', detail: 'done' })],
      ] as const
    ).map(([event, frame]) => ({
      name: `incoming ${event}`,
      samples: [frame],
      decode: (bytes: Uint8Array) => readIncoming(event, bytes, facts),
    })),
  ];
}

function clientTargets(): ByteTarget[] {
  const envelope = sealEnvelope({
    ...{ identity: signer, type: 'ACCEPT', sessionId, sequence: 5n, timeMs: 1_000, format: acceptFormat },
    body: { roundHash: digest },
  });
  const open = (frame: Uint8Array) =>
    openEnvelope(frame, {
      ...{ type: 'ACCEPT', format: acceptFormat, clientId, publicKey, nowMs: 1_000, lastSequence: 4n },
    });
  const parts = z.looseObject({ envelope: z.instanceof(Uint8Array), body: z.instanceof(Uint8Array) });
  const decoded = decodeMessage(parts, envelope);
  if (!decoded.ok) throw new Error('the envelope is ours');
  const { body } = decoded.value;
  const charge = { recordCount: 40, stepsPerRound: 5, noiseMultiplier: 1.1, numbers: 3 };
  return [
    {
      name: 'charges of records',
      samples: [utf8(JSON.stringify([charge, { ...charge, recordCount: 50 }]))],
      decode: (bytes) => openRecordCharges({ read: async () => bytes, write: async () => undefined }, federationId),
    },
    { name: 'envelope, frame', samples: [envelope], decode: open },
    {
      name: 'envelope',
      samples: [decoded.value.envelope],
      decode: (bytes) => open(encodeMessage({ envelope: bytes, body, signature: signer.sign('ACCEPT', bytes) })),
    },
  ];
}

function recordTargets(): ByteTarget[] {
  const version = fromHex(protocolVectors.versionRecord.bytes);
  const { record: canary } = sealCanaryRecord(signer, {
    ...{ federationId, roundIndex: 1, roundHash: digest, planHash: digest, modelHash: digest, parentModelHash: digest },
    ...{ metric: 'accuracy', candidate: 0.5, before: null, drop: 0.1, least: null, reason: 'worse', createdAtMs: 5 },
  });
  return [
    {
      name: 'version record',
      samples: [version],
      decode: (record) => openVersionRecord(publicKey, { record, signature: signer.sign('VERSION', record) }),
    },
    {
      name: 'canary record',
      samples: [canary],
      decode: (record) => openCanaryRecord(publicKey, { record, signature: signer.sign('CANARY', record) }),
    },
  ];
}

function frameTargets(): ByteTarget[] {
  const call = encodeMessage({
    roundHash: digest,
    kind: 'SHARES',
    body: new Uint8Array(9),
    signature: new Uint8Array(64),
  });
  const reply = encodeMessage({ ok: true, size: 5, chunkDigests: [digest, digest] });
  const nested = encodeMessage({
    list: [1, [2, { three: 3n, four: -5, five: 0.5, six: 'text', seven: null, eight: true }]],
  });
  return [
    { name: 'message', samples: [call, reply, nested], decode: (bytes) => decodeMessage(z.unknown(), bytes) },
    { name: 'call', samples: [call], decode: (bytes) => decodeMessage(plainCalls.masked, bytes) },
    { name: 'reply', samples: [reply], decode: (bytes) => decodeReply(replies['fetch-manifest'], bytes) },
  ];
}

/** Frames of a session in both directions. */
export function sessionTargets(): ByteTarget[] {
  return [...frameTargets(), ...coordinatorTargets(), ...clientTargets(), ...recordTargets()];
}

/** Documents that are exchanged over HTTP, before there is a session. */
export function handshakeTargets(): ValueTarget[] {
  const enrolment = sealEnrolment(signer, { token: nonce, name: 'Ward 3', federationId });
  const challenge = sealChallenge(signer, { serverNonce: nonce, serverTimeMs: 5, federationId });
  const auth = sealAuth(signer, {
    ...{ serverNonce: nonce, clientNonce: nonce, coordinatorKey: publicKey, timestampMs: 5 },
  });
  const facts = { publicKey, coordinatorKey: publicKey, nowMs: 5 };
  const pinned = { coordinatorKey: publicKey, federationId };
  return [
    { name: 'challenge', sample: challenge, decode: (value) => openChallenge(value, pinned) },
    { name: 'enrolment', sample: enrolment, decode: (value) => openEnrolment(value, federationId) },
    {
      name: 'auth',
      sample: auth,
      decode: (value) => {
        const opened = openAuth(value);
        return opened.ok ? checkAuth(opened.value, facts) : opened;
      },
    },
    {
      name: 'withdrawal',
      sample: sealWithdrawal(signer, federationId, 5),
      decode: (value) => {
        const opened = openWithdrawal(value, federationId);
        return opened.ok ? opened.value.isSignedBy(publicKey) : opened;
      },
    },
  ];
}
