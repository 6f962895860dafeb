import { strict as assert } from 'node:assert';
import type { OpenableSum } from '../../../coordinator/masking/masked-sum.ts';
import { openRound } from '../../../coordinator/masking/opened-round.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { maskedRound, type RoundParams } from '../../../shared/protocol/round-params.ts';
import { encodeContribution } from '../../../shared/secure-aggregation/contribution.ts';
import type { MaskedVector } from '../../../shared/secure-aggregation/mask.ts';
import { addTo, type RingBits } from '../../../shared/secure-aggregation/ring.ts';
import { encodingOf, maskedTermsOf } from '../../../shared/secure-aggregation/terms.ts';
import { zeroMaskedVector } from '../../../shared/secure-aggregation/vector-bytes.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { fixedLayout } from '../../client/fixed-learner.ts';
import { minimalPlan } from '../../shared/plan/minimal-plan.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const dim = 40;

/** A plan in groups of five, and what its rounds are opened with. */
function grouped(aggregation: object, secureAggregation: object = {}) {
  const plan = parsePlan(
    {
      ...minimalPlan(),
      rounds: { count: 1, cohortSize: 20, quorum: 15 },
      aggregation,
      secureAggregation: { mode: 'on', groupSize: 5, clipNorm: 1, coordBound: 1, ...secureAggregation },
    },
    'the test',
  );
  const exchange = exchangeOf(plan.aggregation, fixedLayout(dim), fixedLayout(dim));
  const frozen = protocolVectors.roundParams.value as RoundParams;
  const params = maskedRound({ ...frozen, ...maskedTermsOf(plan, exchange), suite: 1, dim });
  return { plan, exchange, params };
}

type Round = ReturnType<typeof grouped>;

/** The sum of a group of members with these values, all coordinates alike, and weights. */
function groupOf(
  { params }: Round,
  group: number,
  members: readonly { readonly value: number; readonly weight: number }[],
  bend: (sum: MaskedVector) => void = () => undefined,
): OpenableSum {
  const rounding = createKeyStream(1, new Uint8Array(32).fill(group + 1));
  return {
    group,
    contributors: members.map((_, index) => `${group}${index}`.padStart(64, '0') as ClientId),
    open: async () => {
      const sum = zeroMaskedVector({ ringBits: params.ringBits as RingBits, dim, tail: params.tail });
      for (const { value, weight } of members) {
        const values = new Float32Array(dim).fill(value);
        const clear = { values, weight, exampleCount: weight, meanLoss: group };
        const { coordinates, tail } = encodeContribution(clear, encodingOf(params), rounding);
        addTo(sum.coordinates, coordinates);
        addTo(sum.tail, tail);
      }
      bend(sum);
      return sum;
    },
  };
}

const five = (value: number, weight = 1) => Array.from({ length: 5 }, () => ({ value, weight }));
const opened = (round: Round, sums: readonly OpenableSum[]) =>
  openRound({ ...round, sums, groupCount: 4, blobs: createMemoryBlobs() });

describe('opened rounds in groups', () => {
  it('[OPN-1] the mean of all is that of the groups by their weights; examples add up, losses are weighed', async () => {
    const round = grouped({ weighting: 'examples' }, { weightMax: 100 });
    const found = await opened(round, [
      groupOf(round, 0, five(0.01, 10)),
      groupOf(round, 1, five(0.1, 30)),
      groupOf(round, 3, five(-0.02, 20)),
    ]);
    for (const value of found.mean) assert.ok(Math.abs(value - (0.1 + 3 - 0.4) / 60) < 1e-5, String(value));
    assert.ok(Math.abs(found.totalWeight - 300) < 0.1);
    assert.equal(found.exampleCount, 300);
    assert.ok(Math.abs(found.meanLoss - (0 + 30 + 60) / 60) < 1e-3);
    assert.equal(found.contributors.length, 15);
    assert.deepEqual(found.groups, { drawnCount: 4, countedCount: 3, rejectedCount: 0, means: [] });
  });

  it('[OPN-2] a group with a mean that its members cannot have, or with less weight than members, is rejected, and the round goes on', async () => {
    const round = grouped({ weighting: 'equal', robust: 'median', hostileMax: 1 });
    const honest = [0, 1, 2].map((group) => groupOf(round, group, five(0.15)));
    const bends: readonly ((sum: MaskedVector) => void)[] = [
      ({ coordinates }) => {
        coordinates[0] = (6 * 2 ** round.params.fracBits) >>> 0;
      },
      ({ tail }) => {
        tail[0] = 1;
      },
      ({ tail }) => {
        tail[0] = 0;
      },
    ];
    for (const bend of bends) {
      const found = await opened(round, [...honest, groupOf(round, 3, five(0.15), bend)]);
      assert.equal(found.groups?.rejectedCount, 1);
      assert.equal(found.groups.means.length, 3);
      assert.equal(found.contributors.length, 15);
      for (const value of found.mean) assert.ok(Math.abs(value - 0.15) < 1e-5, String(value));
    }
    const all = honest.map((_, group) => groupOf(round, group, five(0.1), bends[1]));
    await assert.rejects(opened(round, all), { code: 'sum-out-of-range' });
  });

  /** What a group's masked sum becomes when one member adds what no encoder gives. */
  const hostile: readonly (readonly [name: string, added: (fracBits: number) => number])[] = [
    // Half the ring: the sum wraps round from most to least.
    ['ring-overflow-attack', () => 2 ** 31],
    ['scale-100x', (fracBits) => 100 * 0.15 * 2 ** fracBits],
  ];
  for (const [name, added] of hostile)
    it(`[OPN-4] ${name}: the group is rejected, and the model moves as if it had not been there`, async () => {
      const round = grouped({ weighting: 'equal', robust: 'median', hostileMax: 1 });
      const honest = [0, 1, 2].map((group) => groupOf(round, group, five(0.15)));
      const without = await opened(round, honest);
      const bent = groupOf(round, 3, five(0.15), ({ coordinates }) => {
        for (let at = 0; at < dim; at++) coordinates[at] = (coordinates[at]! + added(round.params.fracBits)) >>> 0;
      });
      const found = await opened(round, [...honest, bent]);
      assert.equal(found.groups?.rejectedCount, 1);
      assert.deepEqual(found.mean, without.mean);
      assert.deepEqual(found.contributors, without.contributors);
      // Where nothing else is left, nothing is opened, so that the model stays.
      await assert.rejects(opened(round, [bent]), { code: 'sum-out-of-range' });
    });

  it('[OPN-3] honest members at the very bound of their norm are never rejected for what rounding adds, not in a narrow ring either', async () => {
    for (const ringBits of [16, 32]) {
      const round = grouped({ weighting: 'equal' }, { ringBits });
      for (let run = 0; run < 20; run++) {
        const found = await opened(round, [groupOf(round, run, five(1 / Math.sqrt(dim)))]);
        assert.equal(found.groups?.rejectedCount, 0, `${ringBits} bits, run ${run}`);
      }
    }
  });
});
