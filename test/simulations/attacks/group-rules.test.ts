/** The gated attacks on rules over masked groups, through what a coordinator does with opened sums: ring, bounds, rejection, rule (security specification, section 4.2). */
import { strict as assert } from 'node:assert';
import { guardedGroups } from '../../../coordinator/aggregation/guarded-mean.ts';
import { robustRuleOf } from '../../../coordinator/aggregation/robust/robust-rules.ts';
import type { RobustRule } from '../../../coordinator/aggregation/robust/rule.ts';
import type { Vectors } from '../../../coordinator/aggregation/robust/vectors.ts';
import { plainMean } from '../../../coordinator/aggregation/robust/views.ts';
import type { OpenableSum } from '../../../coordinator/masking/masked-sum.ts';
import { openRound } from '../../../coordinator/masking/opened-round.ts';
import { createMemoryBlobs } from '../../../coordinator/store/blob-memory.ts';
import type { ClientId } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { createKeyStream } from '../../../shared/crypto/key-stream.ts';
import { parsePlan } from '../../../shared/plan/plan.ts';
import { maskedRound, type RoundParams } from '../../../shared/protocol/round-params.ts';
import { encodeContribution } from '../../../shared/secure-aggregation/contribution.ts';
import type { MaskedVector } from '../../../shared/secure-aggregation/mask.ts';
import { addTo } from '../../../shared/secure-aggregation/ring.ts';
import { encodingOf, maskedTermsOf } from '../../../shared/secure-aggregation/terms.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import type { RobustRuleName } from '../../../shared/update/robust-rules.ts';
import { gatedAttacks } from '../../../simulations/attacks/attacks.ts';
import { accuracyUnder } from '../../../simulations/attacks/logistic-world.ts';
import { fixedLayout } from '../../client/fixed-learner.ts';
import { minimalPlan } from '../../shared/plan/minimal-plan.ts';
import { protocolVectors } from '../../vectors/vectors.ts';

const [clientCount, clipNorm] = [100, 2];
/** Points of accuracy that a gated attack may cost. */
const dropMax = 0.05;

interface Grouped {
  readonly robust: RobustRuleName;
  readonly size: number;
  readonly hostileMax: number;
  readonly hostileCount: number;
}

/** What a hostile client puts into the ring: its vector as it is, whatever the bounds, and the weight of one client. */
function encodeFreely(values: Float64Array, fracBits: number, tail: Uint32Array): MaskedVector {
  const words = Array.from(values, (value) => Number(BigInt.asUintN(32, BigInt(Math.round(value * 2 ** fracBits)))));
  return { coordinates: Uint32Array.from(words), tail };
}

async function allOf(vectors: Vectors): Promise<Float64Array[]> {
  return [...(await vectors.block(0, vectors.dim))];
}

/** A rule that sees single updates, of which the first are hostile, and answers as a coordinator does that sees sums of groups alone. */
function throughGroups({ robust, size, hostileMax, hostileCount }: Grouped): RobustRule {
  const settings = { robust, hostileMax, bucketSize: 1 };
  const root = robust === 'fltrust' ? { root: { file: 'rows', digest: 'ab'.repeat(32) } } : {};
  const plan = parsePlan(
    {
      ...minimalPlan(),
      rounds: { count: 1, cohortSize: clientCount, quorum: clientCount },
      aggregation: { ...settings, ...root, weighting: 'equal' },
      secureAggregation: { mode: 'on', groupSize: size, clipNorm, coordBound: clipNorm },
    },
    'the test',
  );
  const inner = robustRuleOf(plan.aggregation);
  assert.ok(inner !== null);
  return {
    name: robust,
    init: inner.init,
    update: async (state, vectors, { roundHash, root: ownStep }) => {
      const { dim } = vectors;
      const exchange = exchangeOf(plan.aggregation, fixedLayout(dim), fixedLayout(dim));
      const { suite: _, ...frozen } = protocolVectors.roundParams.value as RoundParams;
      const params = maskedRound({ ...frozen, ...maskedTermsOf(plan, exchange), suite: 1, dim });
      const encoding = encodingOf(params);
      const rounding = createKeyStream(1, new Uint8Array(32).fill(7));
      const masked = (await allOf(vectors)).map((values, index) => {
        const clear = { values: Float32Array.from(values), weight: 1, exampleCount: 10, meanLoss: 1 };
        const kept = encodeContribution(clear, encoding, rounding);
        return index < hostileCount ? encodeFreely(values, params.fracBits, kept.tail) : kept;
      });
      const order = seededRandom(Number.parseInt(roundHash.slice(0, 8), 16), 'groups').shuffle([...masked.keys()]);
      const groupCount = Math.floor(clientCount / size);
      const sums = Array.from({ length: groupCount }, (_group, group): OpenableSum => {
        const members = order.filter((_member, place) => place % groupCount === group);
        return {
          group,
          contributors: members.map((member) => String(member).padStart(64, '0') as ClientId),
          open: async () => {
            const sum = { coordinates: new Uint32Array(dim), tail: new Uint32Array(params.tail) };
            for (const member of members) {
              addTo(sum.coordinates, masked[member]!.coordinates);
              addTo(sum.tail, masked[member]!.tail);
            }
            return sum;
          },
        };
      });
      const blobs = createMemoryBlobs();
      const { groups } = await openRound({ plan, exchange, params, sums, groupCount, blobs });
      assert.ok(groups !== null);
      return guardedGroups({ plan, dim, roundHash, groups, blobs, root: ownStep as Float32Array | null, state });
    },
  };
}

describe('attacks on rules over masked groups', () => {
  const single = { clientCount, hostileCount: 4 };
  let honest: number;
  before(async () => {
    honest = await accuracyUnder({ ...single, attack: null, rule: plainMean() });
  });

  for (const [robust, size, hostileMax, hostileCount] of [
    ['median', 10, 4, 4],
    ['trimmed-mean', 5, 4, 4],
    ['geometric-median', 10, 4, 4],
    ['krum', 5, 4, 4],
    ['multi-krum', 5, 4, 4],
    ['bulyan', 5, 4, 4],
    ['centred-clip', 5, 2, 2],
    ['fltrust', 5, 4, 4],
  ] as const)
    it(`[ATK-9/${robust}] attack-suite: ${robust} over groups of ${size} keeps within five points under every gated attack, ${hostileCount} of 100 hostile`, async () => {
      const rule = throughGroups({ robust, size, hostileMax, hostileCount });
      for (const attack of gatedAttacks) {
        const accuracy = await accuracyUnder({ clientCount, hostileCount, attack, rule });
        assert.ok(accuracy >= honest - dropMax, `${attack}: ${accuracy}, without attack ${honest}`);
      }
    });
});
