/** Decoders of masked rounds: messages of both directions, what clients upload, what an opened sum says, and what the coordinator keeps. */
import { decodeRuleState, encodeRuleState, ruleOf } from '../../coordinator/aggregation/rules.ts';
import { judgeChunk, judgeValues } from '../../coordinator/rounds/admission.ts';
import { bytesOf, fromHex } from '../../shared/core/bytes.ts';
import { chunkBytesMax } from '../../shared/core/limits.ts';
import { digestOf } from '../../shared/crypto/hash.ts';
import { encodeCanonical } from '../../shared/protocol/canonical.ts';
import { decodeRoundParams, encodeRoundParams } from '../../shared/protocol/round-params.ts';
import {
  deliveryFormat,
  drawFormat,
  drawnFormat,
  outcomeFormat,
  quorumFormat,
  rosterFormat,
  signedKinds,
  survivorsFormat,
} from '../../shared/secure-aggregation/messages.ts';
import { openStage, sealStage } from '../../shared/secure-aggregation/stage.ts';
import { roundHash, runCohort } from '../shared/secure-aggregation/cohort.ts';
import { protocolVectors } from '../vectors/vectors.ts';
import { type ByteTarget, canonicalTarget, someDigest as digest, signedTargets, signer } from './fuzz-target.ts';

const { publicKey } = signer;
const fedAdam = { rule: 'fedadam', serverLearningRate: 0.1, momentum: 0, beta1: 0.9, beta2: 0.99, tau: 1e-3 } as const;

/** Messages of one masked round. */
function messageTargets(): ByteTarget[] {
  const down: Uint8Array[][] = [[], [], [], []];
  const frames: Uint8Array[] = [];
  const { sent } = runCohort({
    clientCount: 4,
    bend: (event) => {
      if (event.type === 'roster') down[0]!.push(encodeCanonical(rosterFormat, event.roster));
      if (event.type === 'delivery') down[1]!.push(encodeCanonical(deliveryFormat, event.delivery));
      if (event.type === 'survivors') down[2]!.push(encodeCanonical(survivorsFormat, event.survivors));
      if (event.type === 'quorum') down[3]!.push(encodeCanonical(quorumFormat, event.quorum));
      if (event.type === 'roster' || event.type === 'quorum') frames.push(sealStage(signer, { roundHash, event }));
      return event;
    },
  });
  const bodies = (type: string): Uint8Array[] =>
    sent.flatMap((event) => (event.type === type && 'body' in event ? [event.body] : []));
  const nonce = new Uint8Array(32).fill(3);
  const groups = [digest, digest];
  return [
    canonicalTarget('M1', signedKinds.ADVERT, bodies('advert')),
    canonicalTarget('M1b', drawFormat, [encodeCanonical(drawFormat, { rosterHash: digest, place: 2, nonce })]),
    canonicalTarget('M2', signedKinds.SHARES, bodies('shares')),
    canonicalTarget('M3', signedKinds.MASKED, bodies('masked')),
    canonicalTarget('M4', signedKinds.AGREE, bodies('agree')),
    canonicalTarget('M5', signedKinds.UNMASK, bodies('unmask')),
    canonicalTarget('R1', rosterFormat, down[0]!),
    canonicalTarget('R1b', drawnFormat, [encodeCanonical(drawnFormat, { rosterHash: digest, nonces: [nonce, nonce] })]),
    canonicalTarget('R2', deliveryFormat, down[1]!),
    canonicalTarget('R3', survivorsFormat, down[2]!),
    canonicalTarget('R3 of groups', outcomeFormat, [
      encodeCanonical(outcomeFormat, { rosterHash: digest, groups, own: null }),
    ]),
    canonicalTarget('R4', quorumFormat, down[3]!),
    ...frames
      .slice(0, 2)
      .flatMap((frame, index) =>
        signedTargets(`stage ${index}`, { type: 'STAGE', frame, open: (bytes) => openStage(publicKey, bytes) }),
      ),
  ];
}

/** What comes in chunks, and state of the coordinator's own. */
function valueBytesTargets(): ByteTarget[] {
  const values = bytesOf(Float32Array.of(1, 2, 3, 4));
  const demands = {
    roundIndex: 0,
    roundHash,
    dim: 4,
    weightMax: 9,
    counts: [{ name: 'a', offset: 2, size: 2, max: 5 }],
  };
  const chunkDigests = [digestOf(values)];
  const announced = { roundHash, vecRoot: digest, chunkDigests, exampleCount: 1, seconds: 1 };
  const rule = ruleOf(fedAdam);
  return [
    { name: 'chunk', samples: [values], decode: (bytes) => judgeChunk(demands, announced, 0, bytes) },
    {
      name: 'values of an update',
      samples: [values],
      // A chunk has its length before its values are looked at.
      decode: (bytes) =>
        bytes.length % 4 === 0 && bytes.length <= chunkBytesMax ? judgeValues(demands, 0, bytes) : null,
    },
    {
      name: 'state of a rule',
      samples: [encodeRuleState(rule.init(3))],
      decode: (bytes) => decodeRuleState(rule, 3, bytes),
    },
  ];
}

/** Every target. */
export function roundTargets(): ByteTarget[] {
  const parameters = fromHex(protocolVectors.roundParams.bytes);
  return [
    ...messageTargets(),
    ...valueBytesTargets(),
    {
      name: 'round parameters',
      samples: [parameters],
      decode: (bytes) => {
        const decoded = decodeRoundParams(bytes);
        if (decoded.ok && digestOf(encodeRoundParams(decoded.value)) !== digestOf(bytes))
          throw new Error('round parameters with a second encoding');
      },
    },
  ];
}
