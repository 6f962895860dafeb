/** Experts weighted by their use behind masks: what the rounding of the ring does to many uses beside few, to few alone, and to none. */
import { strict as assert } from 'node:assert';
import { combine } from '../../../coordinator/aggregation/combine.ts';
import { ruleOf } from '../../../coordinator/aggregation/rules.ts';
import { openRound } from '../../../coordinator/masking/opened-round.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { maskedRound, type RoundParams } from '../../../shared/protocol/round-params.ts';
import { encodeContribution } from '../../../shared/secure-aggregation/contribution.ts';
import { addTo, type RingBits } from '../../../shared/secure-aggregation/ring.ts';
import { encodingOf, maskedTermsOf, scaleUses } from '../../../shared/secure-aggregation/terms.ts';
import { zeroMaskedVector } from '../../../shared/secure-aggregation/vector-bytes.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { uploadOf } from '../../../shared/update/upload.ts';
import { minimalPlan } from '../../shared/plan/minimal-plan.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const [experts, width] = [3, 500];
const roundHash = '07'.repeat(32) as Digest;
const layout = layoutOf([
  { name: 'uses', shape: [experts], aggregationClass: 'count', decays: false },
  ...Array.from({ length: experts }, (_, index) => ({
    name: `expert${index}`,
    shape: [width],
    aggregationClass: 'count-weighted' as const,
    decays: true,
    countName: 'uses',
    countIndex: index,
  })),
]);

/** A client by its examples and its uses of every expert, in all. */
interface Site {
  readonly examples: number;
  readonly uses: readonly number[];
}

const deltaOf = (site: number, place: number) => 0.02 * Math.sin(7 * site + place);

/** Opens the masked sum of some sites, and makes the next version of it. */
async function aggregate(sites: readonly Site[], grouped = false) {
  const size = { count: 1, cohortSize: sites.length, quorum: grouped ? sites.length : 3 };
  const secureAggregation = { mode: 'on', ...(grouped ? { groupSize: 5 } : {}) };
  const plan = parsePlan({ ...minimalPlan(), rounds: size, secureAggregation }, 'the test');
  const exchange = exchangeOf(plan.aggregation, layout);
  const { dim } = exchange.uploaded;
  const frozen = protocolVectors.roundParams.value as RoundParams;
  const params = maskedRound({ ...frozen, ...maskedTermsOf(plan, exchange), suite: 1, dim });
  const start = new Float32Array(layout.dim);
  const rounding = createKeyStream(1, new Uint8Array(32).fill(5));
  const groupSize = grouped ? sites.length / 2 : sites.length;
  const sums = Array.from({ length: sites.length / groupSize }, (_, group) => {
    const members = sites.slice(group * groupSize, (group + 1) * groupSize);
    return {
      group,
      contributors: members.map((__, index) => `${group}${index}`.padStart(64, '0') as ClientId),
      open: async () => {
        const sum = zeroMaskedVector({ ringBits: params.ringBits as RingBits, dim, tail: params.tail });
        for (const [index, { examples, uses }] of members.entries()) {
          const site = group * groupSize + index;
          const delta = Float32Array.from({ length: layout.dim }, (__, place) =>
            place < experts || uses[Math.floor((place - experts) / width)] === 0 ? 0 : deltaOf(site, place),
          );
          const counts = new Map([['uses', Float32Array.from(uses, (count) => count / examples)]]);
          const values = uploadOf(exchange, { start, delta, counts, roundHash });
          scaleUses(exchange, values, 1 / plan.task.lengthMax);
          const clear = { values, weight: examples, exampleCount: examples, meanLoss: 1 };
          const { coordinates, tail } = encodeContribution(clear, encodingOf(params), rounding);
          addTo(sum.coordinates, coordinates);
          addTo(sum.tail, tail);
        }
        return sum;
      },
    };
  });
  const opened = await openRound({ plan, exchange, params, sums, groupCount: sums.length, blobs: createMemoryBlobs() });
  const rule = ruleOf(plan.aggregation);
  const { next } = await combine({
    ...{ exchange, rule, state: rule.init(exchange.stepDim), start, mean: opened.mean, singles: [] },
    ...{ clientCount: sites.length, roundHash, learningRate: 1, giveTurn: async () => undefined },
  });
  const total = (expert: number) => sites.reduce((sum, { uses }) => sum + uses[expert]!, 0);
  const errorsOf = (expert: number) =>
    Array.from({ length: width }, (_, index) => {
      const place = experts + expert * width + index;
      const wanted = sites.reduce((sum, { uses }, site) => sum + uses[expert]! * deltaOf(site, place), 0);
      return next[place]! - wanted / total(expert);
    });
  return {
    next,
    errorsOf,
    /** The stated bound: n (1 + |Δ|) units in U of them. */
    boundOf: (expert: number) =>
      (sites.length * 1.02 * params.weightMax * plan.task.lengthMax) / (2 ** params.fracBits * total(expert)),
    valuesOf: (expert: number) => next.slice(experts + expert * width, experts + (expert + 1) * width),
  };
}

const rest = { examples: 500, uses: [0, 0, 0] };

describe('uses of experts behind masks', () => {
  it('[FNT-1] one site with 100,000 uses, one with 3: the weighted mean within the stated bound; few alone, and nobody, move nothing', async () => {
    const sites = [{ examples: 2_000, uses: [1e5, 0, 0] }, { examples: 1_000, uses: [3, 3, 0] }, rest, rest];
    const { errorsOf, boundOf, valuesOf, next } = await aggregate(sites);
    const bound = boundOf(0);
    assert.ok(bound < 1.1e-5, `${bound}`);
    const worst = Math.max(...errorsOf(0).map(Math.abs));
    assert.ok(worst > 0 && worst < bound, `${worst} is not below ${bound}`);
    for (const expert of [1, 2]) assert.ok(valuesOf(expert).every((value) => value === 0));
    // What was used is told all the same: 3 uses of 4,000 examples.
    assert.ok(Math.abs(next[1]! - 3 / 4_000) < 1e-3);
    assert.equal(next[2], 0);
  });

  it('[FNT-2] where uses just suffice, rounding moves a value by less than 1/400 in the root of its mean square', async () => {
    for (const [few, moves] of [
      [120, false],
      [160, true],
    ] as const) {
      const { errorsOf, valuesOf } = await aggregate([{ examples: 1_000, uses: [few, 0, 0] }, rest, rest, rest]);
      assert.equal(
        valuesOf(0).some((value) => value !== 0),
        moves,
        `${few} uses`,
      );
      if (!moves) continue;
      const errors = errorsOf(0);
      const square = errors.reduce((sum, error) => sum + error * error, 0) / width;
      assert.ok(Math.sqrt(square) < 1 / 400, `${Math.sqrt(square)}`);
    }
  });

  it('[FNT-3] over groups the uses of all of them count', async () => {
    const sites = Array.from({ length: 10 }, () => ({ examples: 1_000, uses: [400, 1, 0] }));
    const { errorsOf, boundOf, valuesOf } = await aggregate(sites, true);
    assert.ok(Math.max(...errorsOf(0).map(Math.abs)) < boundOf(0));
    for (const expert of [1, 2]) assert.ok(valuesOf(expert).every((value) => value === 0));
  });
});
