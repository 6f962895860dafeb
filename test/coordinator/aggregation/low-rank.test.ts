import { strict as assert } from 'node:assert';
import type { ExchangeSettings } from '../../../shared/update/federated-layout.ts';
import { declarationOf, lowRankRuleNames } from '../../../shared/update/low-rank-rules.ts';
import { trainingStartOf } from '../../../shared/update/training-start.ts';
import {
  exchangeFor,
  type LowRankClient,
  mapsOf,
  publishedOf,
  relativeError,
  runRound,
  trainClient,
} from './low-rank-world.ts';

/** Settings under which a rule has room for everything: maps of at most rank 7, sketches of 3 clients of rank 2. */
const roomy: Readonly<Record<string, Partial<ExchangeSettings>>> = {
  'factor-avg': {},
  'freeze-a': { lowRank: 'freeze-a' },
  'share-a': { lowRank: 'share-a' },
  svd: { lowRank: 'svd', publishedRank: 7 },
  stack: { lowRank: 'stack', publishedRank: 30 },
  residual: { lowRank: 'residual', publishedRank: 30 },
  dense: { lowRank: 'dense', publishedRank: 7 },
  sketch: { lowRank: 'sketch', publishedRank: 7, sketchSize: 8 },
};
const three: readonly LowRankClient[] = [
  { seed: 1, weight: 10 },
  { seed: 2, weight: 30 },
  { seed: 3, weight: 5 },
];
const seeds = [11, 12, 13, 14];
const close = (found: number, limit: number, what: string): void => assert.ok(found <= limit, `${what}: ${found}`);
const runs = function* (rule: string) {
  const exchange = exchangeFor(roomy[rule]!);
  for (const seed of seeds) yield { exchange, published: publishedOf(exchange, seed, seed === 14) };
};

describe('low-rank aggregation', () => {
  it('[LRA-1] every rule of the table is tested', () => {
    assert.deepEqual(Object.keys(roomy), [...lowRankRuleNames]);
  });

  for (const rule of lowRankRuleNames) {
    const { guarantee, insteadForMixedRanks } = declarationOf(rule);
    const mixedRanks = insteadForMixedRanks === null;

    it(`[LRA-a] ${rule}: identical clients give what any one of them gives`, async () => {
      for (const { exchange, published } of runs(rule)) {
        const same = [4, 20, 9].map((weight) => ({ seed: 5, weight }));
        const { maps, rounds, next } = await runRound(exchange, published, same);
        if (guarantee === 'personal') {
          const { next: alone } = await runRound(exchange, published, same.slice(0, 1));
          close(relativeError([next], [alone]), 1e-6, 'shared part');
        } else close(relativeError(maps, rounds[0]!.maps), 2e-6, 'maps');
      }
    });

    it(`[LRA-b] ${rule}: the order of clients leaves the bytes unchanged`, async () => {
      for (const { exchange, published } of runs(rule)) {
        const { next } = await runRound(exchange, published, three, { ids: [1, 2, 3] });
        const turned = await runRound(exchange, published, [three[2]!, three[0]!, three[1]!], { ids: [3, 1, 2] });
        assert.deepEqual(turned.next, next);
      }
    });

    it(`[LRA-c] ${rule}: one client alone gives its own function`, async () => {
      for (const { exchange, published } of runs(rule)) {
        const { maps, rounds, measures } = await runRound(exchange, published, three.slice(0, 1));
        if (guarantee !== 'personal') close(relativeError(maps, rounds[0]!.maps), 2e-6, 'maps');
        close(measures.get('factor-bias') ?? 0, 1e-7, 'bias');
      }
    });

    if (guarantee === 'exact') {
      it(`[LRA-d] ${rule}: the published maps move by the weighted mean of what clients did to them`, async () => {
        for (const { exchange, published } of runs(rule)) {
          for (const learningRate of [1, 0.5]) {
            const { maps, target, measures } = await runRound(exchange, published, three, { learningRate });
            // FedEx puts the residual beside factors that move with the server's rate, so it is exact at rate 1 alone.
            if (rule === 'residual' && learningRate !== 1) continue;
            close(relativeError(maps, target), 1e-5, `maps at rate ${learningRate}`);
            close(measures.get('discarded') ?? 0, 1e-6, 'discarded');
            close(measures.get('sketch-error') ?? 0, 1e-5, 'sketch');
          }
        }
      });
    }

    it(`[LRA-e] ${rule}: a client of weight 0 changes nothing, and nobody with a weight leaves everything as it was`, async () => {
      for (const { exchange, published } of runs(rule)) {
        const { next } = await runRound(exchange, published, three);
        const idle = { seed: 8, weight: 0, drift: 100 };
        assert.deepEqual((await runRound(exchange, published, [...three, idle])).next, next);
        assert.deepEqual((await runRound(exchange, published, [idle])).next, published);
      }
    });

    it(`[LRA-f] ${rule}: a client begins with the very function that was published, whatever its rank`, () => {
      for (const { exchange, published } of runs(rule)) {
        for (const rankMax of mixedRanks ? [null, 2, 1] : [null]) {
          const fresh = (): Float32Array => new Float32Array(exchange.trained.dim);
          const { start, frozen } = trainingStartOf(exchange, { published, rankMax, personal: null, fresh });
          const own = mapsOf(exchange.trained, start);
          const beside =
            frozen === null ? own.map((map) => map.fill(0, map.length)) : mapsOf(exchange.published, frozen);
          const whole = own.map((map, index) =>
            map.map((value, place) => value + (frozen === null ? 0 : beside[index]![place]!)),
          );
          close(relativeError(whole, mapsOf(exchange.published, published)), 1e-12, `rank ${rankMax}`);
        }
      }
    });

    it(`[LRA-g] ${rule}: a client twice with half its weight is the client once`, async () => {
      for (const { exchange, published } of runs(rule)) {
        const once = await runRound(exchange, published, three);
        const halves = three.flatMap((client) =>
          [client, client].map((half) => ({ ...half, weight: half.weight / 2 })),
        );
        const twice = await runRound(exchange, published, halves);
        if (guarantee === 'exact') close(relativeError(twice.maps, once.maps), 3e-6, 'maps');
        else assert.deepEqual(twice.next, once.next);
      }
    });

    if (mixedRanks) {
      it(`[LRA-h] ${rule}: with ranks 1 and 2 in one round the mean stays exact`, async () => {
        for (const { exchange, published } of runs(rule)) {
          const mixed = three.map((client, index) => (index === 0 ? client : { ...client, rankMax: 1 }));
          const { maps, target } = await runRound(exchange, published, mixed);
          close(relativeError(maps, target), 1e-5, 'maps');
        }
      });
    }
  }

  it('[LRA-2] factor averaging misses what it says: the measured bias is the distance to the dense mean', async () => {
    for (const { exchange, published } of runs('factor-avg')) {
      const { maps, target, measures } = await runRound(exchange, published, three);
      const bias = measures.get('factor-bias')!;
      assert.ok(bias > 0.05, `a bias of ${bias} is visible`);
      const exact = await runRound(exchangeFor(roomy.svd!), publishedOf(exchangeFor(roomy.svd!), 11), three);
      close(relativeError(exact.maps, exact.target), 1e-5, 'svd in its place');
      close(Math.abs(relativeError(maps, target) - bias), 2e-6, 'bias');
    }
  });

  it('[LRA-11] the bias of many clients is estimated from random directions, and called an estimate', async () => {
    const exchange = exchangeFor({}, { rank: 2, sizes: [24, 40] });
    const clients = Array.from({ length: 150 }, (_, seed) => ({ seed, weight: 1 + (seed % 5), drift: 0.3 }));
    const { maps, target, measures } = await runRound(exchange, publishedOf(exchange, 15), clients);
    const estimate = measures.get('factor-bias-estimate')!;
    const error = relativeError(maps, target);
    assert.ok(!measures.has('factor-bias') && Math.abs(estimate / error - 1) < 0.2, `${estimate} and ${error}`);
  });

  it('[LRA-3] the bias is zero after equal As, and grows with the drift of clients from a common start', async () => {
    const exchange = exchangeFor({});
    const published = publishedOf(exchange, 3);
    const biases: number[] = [];
    for (const drift of [0.01, 0.1, 0.5]) {
      const { measures } = await runRound(
        exchange,
        published,
        three.map((client) => ({ ...client, drift })),
      );
      biases.push(measures.get('factor-bias')!);
    }
    assert.ok(biases[0]! < biases[1]! && biases[1]! < biases[2]!, String(biases));
    const { measures } = await runRound(
      exchange,
      published,
      three.map((client) => ({ ...client, seed: 4 })),
    );
    close(measures.get('factor-bias')!, 1e-7, 'equal clients');
  });

  it('[LRA-4] FedEx golden vector: M, B̄Ā and the residual of two clients of rank 1', async () => {
    const exchange = exchangeFor({ lowRank: 'residual', publishedRank: 4 }, { rank: 1, sizes: [2, 2] });
    const { combinePair } = await import('../../../coordinator/aggregation/low-rank.ts');
    const pair = exchange.pairs[0]!;
    const start = new Float32Array(exchange.published.dim);
    const client = (a: readonly number[], b: readonly number[], share: number) => {
      const values = new Float32Array(exchange.uploaded.dim);
      values.set(a, pair.uploaded[0]!.offset);
      values.set(b, pair.uploaded[1]!.offset);
      return { share, values };
    };
    const singles = [client([1, 2], [1, 0], 0.25), client([0, 4], [3, -2], 0.75)];
    const mean = new Float64Array(exchange.uploaded.dim);
    for (const { share, values } of singles)
      for (const [place, value] of values.entries()) mean[place]! += share * value;
    const next = new Float32Array(exchange.published.dim);
    // Averaged factors as the first rank, as the linear part leaves them.
    const [first, second] = [pair.uploaded[0]!, pair.uploaded[1]!];
    for (let place = 0; place < 2; place++) {
      next[pair.published.a.offset + place] = mean[first.offset + place]!;
      next[pair.published.b.offset + place * 4] = mean[second.offset + place]!;
    }
    const averaged = mapsOf(exchange.published, next)[0]!;
    assert.deepEqual([...averaged], [0.625, 8.75, -0.375, -5.25]);
    const roundHash = '07'.repeat(32) as never;
    combinePair(pair, { exchange, start, mean, singles, clientCount: 2, roundHash, learningRate: 1, next });
    const whole = mapsOf(exchange.published, next)[0]!;
    assert.deepEqual([...whole], [0.25, 9.5, 0, -6]);
    assert.deepEqual(
      [...whole].map((value, place) => value - averaged[place]!),
      [-0.375, 0.75, 0.375, -0.75],
    );
  });

  it('[LRA-5] svd cut to the trained rank is the best map of that rank, and reports what it discards', async () => {
    for (const seed of seeds) {
      const exchange = exchangeFor({ lowRank: 'svd' });
      const { maps, target, measures } = await runRound(exchange, publishedOf(exchange, seed), three);
      const discarded = measures.get('discarded')!;
      assert.ok(discarded > 0.01, `${discarded}`);
      close(Math.abs(relativeError(maps, target) - discarded), 1e-6, 'error and measure');
      assert.equal(measures.get('rank'), 2);
    }
  });

  it('[LRA-6] error feedback: what a cut of the trained ranks would lose stays published and comes back', async () => {
    const lossOf = async (publishedRank?: number): Promise<number> => {
      const exchange = exchangeFor({ lowRank: 'svd', ...(publishedRank === undefined ? {} : { publishedRank }) });
      let published = publishedOf(exchange, 21, true);
      let dense = mapsOf(exchange.published, published);
      for (let round = 0; round < 4; round++) {
        const clients = three.map((client) => ({ ...client, seed: client.seed + 10 * round, drift: 0.2 }));
        const before = mapsOf(exchange.published, published);
        const { next, target } = await runRound(exchange, published, clients);
        dense = dense.map((map, index) =>
          map.map((value, place) => value + target[index]![place]! - before[index]![place]!),
        );
        published = next;
      }
      return relativeError(mapsOf(exchange.published, published), dense);
    };
    close(await lossOf(7), 1e-5, 'with room for all');
    assert.ok((await lossOf()) > 2 * (await lossOf(4)), 'ranks beside the trained ones keep what a cut loses');
  });

  it('[LRA-7] a stack is exact until it is full, then cut to its best map, and says so', async () => {
    const exchange = exchangeFor({ lowRank: 'stack', publishedRank: 7 }, { rank: 2, sizes: [12, 12] });
    let published = publishedOf(exchange, 31);
    const ranks: number[] = [];
    for (let round = 0; round < 3; round++) {
      const { next, maps, target, measures } = await runRound(
        exchange,
        published,
        three.map((client) => ({ ...client, seed: client.seed + round })),
      );
      const discarded = measures.get('discarded') ?? 0;
      close(Math.abs(relativeError(maps, target) - discarded), 1e-6, `round ${round}`);
      ranks.push(measures.get('rank')!);
      if (round === 0) assert.equal(measures.has('discarded'), false);
      else assert.ok(discarded > 0);
      published = next;
    }
    assert.deepEqual(ranks, [7, 7, 7]);
  });

  it('[LRA-8] a sketch below the rank of the sum says that it is too small', async () => {
    const exchange = exchangeFor({ lowRank: 'sketch', publishedRank: 12, sketchSize: 3 }, { rank: 2, sizes: [14, 14] });
    const { maps, target, measures } = await runRound(exchange, publishedOf(exchange, 41), three);
    assert.ok(relativeError(maps, target) > 0.01);
    assert.ok(measures.get('sketch-error')! > 0.01);
    const enough = exchangeFor({ lowRank: 'sketch', publishedRank: 8, sketchSize: 8 }, { rank: 2, sizes: [40, 50] });
    for (const seed of seeds) {
      const exact = await runRound(enough, publishedOf(enough, seed), three);
      close(relativeError(exact.maps, exact.target), 1e-5, 'a sketch of (clients + 1) times the rank');
      close(exact.measures.get('sketch-error')!, 1e-5, 'and it knows');
    }
  });

  it('[LRA-9] a trained rank without a singular value keeps its row of A, so that it can be trained again', async () => {
    const exchange = exchangeFor({ lowRank: 'svd' });
    const published = publishedOf(exchange, 51, true);
    const { next } = await runRound(
      exchange,
      published,
      three.map((client) => ({ ...client, drift: 0 })),
    );
    assert.deepEqual(next, published);
    const { next: moved } = await runRound(exchange, published, [{ seed: 1, weight: 1, rankMax: 1 }]);
    const { a } = exchange.pairs[0]!.published;
    const second = [...moved.subarray(a.offset + 7, a.offset + 14)];
    assert.deepEqual(second, [...published.subarray(a.offset + 7, a.offset + 14)]);
  });

  it('[LRA-10] A of freeze-a is never sent and never moves; B of share-a stays with its client and comes back to it', async () => {
    const frozen = exchangeFor(roomy['freeze-a']!);
    const published = publishedOf(frozen, 61);
    const { next } = await runRound(frozen, published, three);
    for (const { a } of frozen.pairs.map((pair) => pair.published))
      assert.deepEqual(next.subarray(a.offset, a.offset + a.size), published.subarray(a.offset, a.offset + a.size));
    assert.deepEqual(
      frozen.uploaded.tensors.map(({ name }) => name),
      ['q.b', 'v.b', 'head.bias'],
    );

    const shared = exchangeFor(roomy['share-a']!);
    assert.deepEqual(
      shared.uploaded.tensors.map(({ name }) => name),
      ['q.a', 'v.a', 'head.bias'],
    );
    const start = publishedOf(shared, 62);
    const first = trainClient(shared, start, { seed: 1, weight: 1 });
    const again = trainClient(shared, start, { seed: 1, weight: 1, drift: 0, personal: first.personal });
    assert.deepEqual(again.personal, first.personal);
    const { next: after } = await runRound(shared, start, three);
    const b = shared.published.tensors.find(({ pair }) => pair?.factor === 'b')!;
    assert.deepEqual(after.subarray(b.offset, b.offset + b.size), start.subarray(b.offset, b.offset + b.size));
  });

  it('[LRA-12] a server optimiser moves what is linear and leaves products to their rule', async () => {
    const exchange = exchangeFor({ lowRank: 'svd', publishedRank: 7 });
    const published = publishedOf(exchange, 81);
    const plain = await runRound(exchange, published, three);
    const optimised = await runRound(exchange, published, three, { rule: 'fedadam', learningRate: 0.1 });
    const head = exchange.published.tensors.at(-1)!;
    assert.equal(exchange.stepDim, head.size);
    assert.deepEqual(optimised.next.subarray(0, head.offset), plain.next.subarray(0, head.offset));
    for (let index = head.offset; index < head.offset + head.size; index++) {
      const delta = plain.next[index]! - published[index]!;
      // The first step of Adam from v = tau²: 0.1 · 0.1 delta / (sqrt(0.99 tau² + 0.01 delta²) + tau).
      const step = (0.1 * 0.1 * delta) / (Math.sqrt(0.99e-6 + 0.01 * delta * delta) + 1e-3);
      close(Math.abs(optimised.next[index]! - published[index]! - step), 1e-6, `value ${index}`);
    }
  });

  it('[LRA-13] ranks that are not in use are 0 on both sides: an export may leave them out', async () => {
    for (const settings of [roomy.stack!, roomy.residual!, { lowRank: 'svd', publishedRank: 9 } as const]) {
      const exchange = exchangeFor(settings);
      const { next, measures } = await runRound(exchange, publishedOf(exchange, 91), three.slice(0, 1));
      const used = measures.get('rank')!;
      for (const { published } of exchange.pairs) {
        const { a, b, inSize, outSize, rank } = published;
        assert.ok(used < rank);
        assert.ok(next.subarray(a.offset + used * inSize, a.offset + a.size).every((value) => value === 0));
        for (let row = 0; row < outSize; row++) {
          const place = b.offset + row * rank;
          assert.ok(next.subarray(place + used, place + rank).every((value) => value === 0));
        }
      }
    }
  });
});
