/** Rules that hand another view of the vectors to the rule behind them: norm clipping (Sun 2019), bucketing (Karimireddy 2022); and FLTrust (Cao 2021). */
import { assert } from '../../../shared/core/assert.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { type RobustRule, requireCount } from './rule.ts';
import { combination, productsWithLast, type Vectors, withVector } from './vectors.ts';

/** The plain mean, with every vector cut to `norm` before the rule `behind` sees it. */
export function normClip(norm: number, behind: RobustRule): RobustRule {
  assert(norm > 0, 'a norm is above 0');
  return {
    name: `norm-clip(${norm}) then ${behind.name}`,
    init: behind.init,
    update: async (state, vectors, context) => {
      const zeros = withVector(vectors, new Float64Array(vectors.dim));
      const { squares } = await productsWithLast(zeros);
      const scales = squares.map((square) => Math.min(1, norm / Math.max(Math.sqrt(square), Number.MIN_VALUE)));
      return behind.update(state, scaled(vectors, scales), context);
    },
  };
}

function scaled({ count, dim, block }: Vectors, scales: Float64Array): Vectors {
  return {
    count,
    dim,
    block: async (from, to) => {
      const parts = await block(from, to);
      for (const [row, part] of parts.entries())
        for (let index = 0; index < part.length; index++) part[index]! *= scales[row]!;
      return parts;
    },
  };
}

/** The mean of all vectors: holds against nobody, stands behind {@link normClip}. */
export function plainMean(): RobustRule {
  return {
    name: 'mean',
    init: () => [],
    update: async (_state, vectors) => {
      requireCount('none', 0, vectors.count);
      return combination(vectors, new Float64Array(vectors.count).fill(1 / vectors.count));
    },
  };
}

/** Means of random buckets of `size` vectors, drawn anew in every round, for the rule `behind`, whose f counts buckets. */
export function bucketing(size: number, behind: RobustRule): RobustRule {
  assert(Number.isInteger(size) && size >= 1, 'a bucket has at least one vector');
  return {
    name: `buckets of ${size} then ${behind.name}`,
    init: behind.init,
    update: (state, vectors, context) => {
      const { roundHash } = context;
      const random = seededRandom(Number.parseInt(roundHash.slice(0, 8), 16), 'buckets', roundHash);
      const order = random.shuffle(Array.from({ length: vectors.count }, (_, index) => index));
      return behind.update(state, bucketed(vectors, order, size), context);
    },
  };
}

function bucketed({ count, dim, block }: Vectors, order: readonly number[], size: number): Vectors {
  // The last bucket would be small, and a hostile vector in it weigh more: what is left over joins the others.
  const bucketCount = Math.max(1, Math.floor(count / size));
  const buckets = Array.from({ length: bucketCount }, (_, bucket) =>
    order.filter((_index, place) => place % bucketCount === bucket),
  );
  return {
    count: bucketCount,
    dim,
    block: async (from, to) => {
      const parts = await block(from, to);
      return buckets.map((members) => {
        const mean = new Float64Array(to - from);
        for (const member of members)
          for (let index = 0; index < mean.length; index++) mean[index]! += parts[member]![index]! / members.length;
        return mean;
      });
    },
  };
}

/** FLTrust: Σ ReLU(cos(x_i, g₀)) (‖g₀‖ / ‖x_i‖) x_i / Σ ReLU(cos), where g₀ is the coordinator's own step. */
export function flTrust(): RobustRule {
  return {
    name: 'fltrust',
    init: () => [],
    update: async (_state, vectors, { root }) => {
      if (root === null) {
        throw new FederationError(
          'no-root',
          'the rule fltrust needs a step of the coordinator itself; name public rows',
        );
      }
      requireCount('fltrust', 0, vectors.count);
      const { products, squares } = await productsWithLast(withVector(vectors, root));
      const rootNorm = Math.sqrt(squares.at(-1)!);
      const norms = squares.subarray(0, vectors.count).map(Math.sqrt);
      const trusts = norms.map((norm, index) =>
        norm === 0 || rootNorm === 0 ? 0 : Math.max(0, products[index]! / (norm * rootNorm)),
      );
      const total = trusts.reduce((sum, trust) => sum + trust, 0);
      if (total === 0) {
        const sentence = 'no update points where that of the coordinator points; the round cannot count';
        throw new FederationError('no-trusted-update', sentence);
      }
      return combination(
        vectors,
        trusts.map((trust, index) => (trust === 0 ? 0 : (trust * rootNorm) / norms[index]! / total)),
      );
    },
  };
}
