import { strict as assert } from 'node:assert';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { violation } from '../../../shared/protocol/violations.ts';
import { receiveAsClient, startAttempt } from '../../../shared/secure-aggregation/client-machine.ts';
import { decodeContributions, encodeContribution } from '../../../shared/secure-aggregation/contribution.ts';
import {
  decodeEvaluation,
  encodeEvaluation,
  evaluationWordCount,
} from '../../../shared/secure-aggregation/evaluation-words.ts';
import { addTo } from '../../../shared/secure-aggregation/ring.ts';
import {
  encodeVector,
  vectorAdder,
  vectorBytesOf,
  zeroMaskedVector,
} from '../../../shared/secure-aggregation/vector-bytes.ts';
import { mergeCounts } from '../../../shared/training/counts.ts';
import { binaryCounts } from '../../helpers/evaluation-counts.ts';
import { seededEntropy } from '../../helpers/seeded-entropy.ts';
import { judgeCertificate, roundHash } from './cohort.ts';

const encoding = { ringBits: 32, fracBits: 24, coordBound: 8, clipNorm: 100, weightMax: 65_536 } as const;
const contributionOf = (index: number) => ({
  values: Float32Array.of(0.5 * index, -0.25, 0),
  weight: 10 * index,
  exampleCount: 10 * index,
  meanLoss: index,
});

describe('contribution to a masked sum', () => {
  it('[CTB-1] the sum says mean, weight, examples and loss of all, and a sum that nobody can have made says nothing', () => {
    const vectors = [1, 2, 3].map((index) =>
      encodeContribution(contributionOf(index), encoding, createKeyStream(1, new Uint8Array(32).fill(index))),
    );
    const sum = zeroMaskedVector({ ringBits: 32, dim: 3, tail: 4 });
    for (const vector of vectors) vectorAdder(sum)(encodeVector(vector));
    const opened = decodeContributions(sum, encoding, 3)!;
    assert.equal(opened.totalWeight, 60);
    assert.equal(opened.exampleCount, 60);
    assert.ok(Math.abs(opened.meanLoss - 14 / 6) < 1e-6);
    for (const [place, wanted] of [7 / 6, -0.25, 0].entries())
      assert.ok(Math.abs(opened.mean[place]! - wanted) < 1e-4, `${opened.mean[place]}`);
    assert.equal(decodeContributions({ ...sum, tail: Uint32Array.of(2 ** 20, 0, 0, 0) }, encoding, 3), null);
    assert.equal(decodeContributions({ ...sum, tail: new Uint32Array(4) }, encoding, 3), null);
    sum.coordinates[1] = 2 ** 31 - 1;
    assert.equal(decodeContributions(sum, encoding, 3), null);
  });

  it('[CTB-2] vectors are added whatever their parts, in rings of 16 and 32 bits', () => {
    for (const ringBits of [16, 32] as const) {
      const shape = { ringBits, dim: 5, tail: 2 };
      const vector = zeroMaskedVector(shape);
      vector.coordinates.set([1, 2, 3, 4, 5]);
      vector.tail.set([6, 2 ** 32 - 1]);
      const bytes = encodeVector(vector);
      assert.equal(bytes.length, vectorBytesOf(shape));
      for (const width of [ringBits / 8, (3 * ringBits) / 8, bytes.length]) {
        const sum = zeroMaskedVector(shape);
        for (let turn = 0; turn < 2; turn++) {
          const add = vectorAdder(sum);
          for (let start = 0; start < bytes.length; start += width) add(bytes.subarray(start, start + width));
        }
        assert.deepEqual([...sum.coordinates], [2, 4, 6, 8, 10]);
        assert.deepEqual([...sum.tail], [12, 2 ** 32 - 2]);
      }
    }
  });

  it('[CTB-3] sums of evaluation words are the counts of all sites together', () => {
    const [left, right] = [binaryCounts(8, 10), binaryCounts(3, 7)];
    const shape = {
      labelCount: left.labels.truth.length,
      isExclusive: true,
      isTargetRow: true,
      entityCount: 0,
      histogramCount: left.histograms.length,
      decisionsPerTarget: 1,
    };
    const sum = new Uint32Array(evaluationWordCount(shape));
    for (const counts of [left, right]) addTo(sum, encodeEvaluation(counts));
    const found = decodeEvaluation(sum, shape);
    const wanted = mergeCounts([left, right], shape);
    assert.deepEqual(
      { ...found, lossSum: 0, squaredErrorSum: 0, calibration: 0 },
      { ...wanted, lossSum: 0, squaredErrorSum: 0, calibration: 0 },
    );
    assert.ok(Math.abs(found.lossSum - wanted.lossSum) < 1e-3);
    assert.deepEqual(found.calibration.decisions, wanted.calibration.decisions);
  });

  it('[CTB-4] an attempt that is given up leaves none of its secrets in memory', () => {
    const given: Uint8Array[] = [];
    const source = seededEntropy(3);
    const entropy = {
      bytes: (count: number) => {
        const bytes = source.bytes(count);
        given.push(bytes);
        return bytes;
      },
    };
    const { state } = startAttempt({
      roundHash,
      profile: 'active',
      ...{ clientCountMin: 3, clientCountMax: 128, organisationCountMin: 1, judgeCertificate, entropy },
      clientId: 'cd'.repeat(32) as never,
      certificateHash: roundHash,
      checkpoint: { size: 0, root: roundHash },
    });
    assert.ok(given.length === 3 && given.every((bytes) => bytes.some((byte) => byte !== 0)));
    receiveAsClient(state, { type: 'abandon', reason: violation('stale-round', 'given up') });
    assert.ok(given.every((bytes) => bytes.every((byte) => byte === 0)));
  });
});
