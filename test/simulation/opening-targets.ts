/** Decoders of what masked rounds leave behind: retained transcripts, boxes of shares, opened sums of updates and of evaluations. */
import { decodeAttemptMessage, encodeAttemptMessage } from '../../coordinator/masking/attempt-log.ts';
import { createAttemptMachine } from '../../coordinator/masking/attempt-machine.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import { agreementPublicKey } from '../../shared/crypto/key-agreement.ts';
import { decodeContributions } from '../../shared/secure-aggregation/contribution.ts';
import { dealShares, openShares } from '../../shared/secure-aggregation/dealing.ts';
import { decodeEvaluation, evaluationWordCount } from '../../shared/secure-aggregation/evaluation-words.ts';
import type { Member } from '../../shared/secure-aggregation/members.ts';
import { seededEntropy } from '../helpers/seeded-entropy.ts';
import { judgeCertificate, roundHash, runCohort } from '../shared/secure-aggregation/cohort.ts';
import { type ByteTarget, someDigest as rosterHash, textTarget, type ValueTarget } from './fuzz-target.ts';

/** The messages of a round as they are retained, through the machine that opens its sum again. */
export function transcriptTargets(): ValueTarget[] {
  const { sent, server } = runCohort({ clientCount: 4 });
  const { invited, vectorBytes } = server.setting;
  const bounds = { clientCountMin: 3, clientCountMax: 128, organisationCountMin: 1, profile: 'active' } as const;
  return [
    {
      name: 'transcript of a masked round',
      sample: sent.map((event) => JSON.parse(encodeAttemptMessage(event)) as unknown),
      decode: (value) => {
        const messages = Array.isArray(value) ? value : [value];
        const setting = { ...bounds, roundHash, judgeCertificate, invited, vectorBytes, grouping: null };
        const machine = createAttemptMachine(setting);
        for (const message of messages) machine.receive(decodeAttemptMessage(JSON.stringify(message) ?? ''));
      },
    },
  ];
}

/** A box of shares, as its holder opens it. */
function shareTarget(): ByteTarget {
  const secretsOf = (seed: number) => {
    const { bytes } = seededEntropy(seed);
    return { box: bytes(32), mask: bytes(32), self: bytes(32) };
  };
  const secrets = [secretsOf(1), secretsOf(2), secretsOf(3)];
  const member = (place: number) =>
    ({ place, advert: { boxKey: agreementPublicKey(secrets[place]!.box) } }) as unknown as Member;
  const members = { rosterHash, members: secrets.map((_, place) => member(place)) };
  const { shares } = dealShares(members, 0, { secrets: secrets[0]!, threshold: 2, entropy: seededEntropy(4) });
  const { box, maskHash, selfHash } = shares.dealt[0]!;
  const own = { place: 1, secrets: secrets[1]! };
  return {
    name: 'box of shares',
    samples: [box],
    decode: (bytes) => {
      const held = openShares({ dealer: 0, box: bytes, maskHash, selfHash }, members, own);
      const isChanged = bytes.length !== box.length || bytes.some((byte, index) => byte !== box[index]);
      if ((held === null) !== isChanged) throw new Error('a changed box opens, or an unchanged one does not');
    },
  };
}

/** Whole words of changed bytes. */
function wordsOf(bytes: Uint8Array, count: number): Uint32Array {
  const words = new Uint32Array(count);
  const whole = bytes.slice(0, 4 * count);
  new Uint8Array(words.buffer).set(whole);
  return words;
}

/** Words of opened sums: clients that lie put any there, and coordinators decode them. */
function sumTargets(): ByteTarget[] {
  const encoding = { ringBits: 32, fracBits: 16, coordBound: 1, clipNorm: 1, weightMax: 10 } as const;
  const sum = Uint32Array.of(1, 2 ** 32 - 5, 70_000, 3, 2 ** 16, 5, 0, 7);
  const shape = {
    ...{ labelCount: 2, isExclusive: true, isTargetRow: true, entityCount: 1, histogramCount: 1 },
    decisionsPerTarget: 1,
  };
  const count = evaluationWordCount(shape);
  return [
    {
      name: 'words of an opened sum',
      samples: [bytesOf(sum)],
      decode: (bytes) => {
        const words = wordsOf(bytes, 8);
        const [coordinates, tail] = [words.subarray(0, 4), words.subarray(4)];
        const opened = decodeContributions({ coordinates, tail } as never, encoding, 2);
        const numbers = opened === null ? [] : [...opened.mean, opened.totalWeight, opened.meanLoss];
        if (!numbers.every(Number.isFinite)) throw new Error('a number that is not finite');
        if (opened?.mean.some((value) => Math.abs(value) > encoding.coordBound * 2 ** 17))
          throw new Error('a mean beyond its bound');
      },
    },
    {
      name: 'words of an opened evaluation',
      samples: [bytesOf(Uint32Array.from({ length: count }, (_, index) => index))],
      decode: (bytes) => {
        const { lossSum, exampleCount } = decodeEvaluation(wordsOf(bytes, count), shape);
        if (!(Number.isFinite(lossSum) && lossSum >= 0 && exampleCount >= 0)) throw new Error('a count below zero');
      },
    },
  ];
}

/** Every target of bytes. */
export function openingTargets(): ByteTarget[] {
  const { sent } = runCohort({ clientCount: 4 });
  return [
    shareTarget(),
    ...sumTargets(),
    textTarget('kept message', sent.slice(0, 40).map(encodeAttemptMessage), decodeAttemptMessage),
  ];
}
