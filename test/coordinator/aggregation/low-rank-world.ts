/** One round of a federation of low-rank pairs without anything around it: start, changes from a seed, uploads, the next version; and the same densely. */
import { combine, type Measure, readsSingles } from '../../../coordinator/aggregation/combine.ts';
import type { Contribution } from '../../../coordinator/aggregation/fold.ts';
import { foldMean } from '../../../coordinator/aggregation/fold.ts';
import { type RuleOptions, ruleOf } from '../../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { type Exchange, exchangeOf } from '../../../shared/update/exchange.ts';
import {
  type ExchangeSettings,
  federatedLayout,
  type LowRankPair,
  pairsOf,
  plainExchange,
} from '../../../shared/update/federated-layout.ts';
import { type AdapterLayout, layoutOf, type TensorSpecification } from '../../../shared/update/layout.ts';
import { personalOf, trainingStartOf } from '../../../shared/update/training-start.ts';
import { uploadOf } from '../../../shared/update/upload.ts';

/** A round hash from one byte. */
const hashOf = (byte: number): Digest => byte.toString(16).padStart(2, '0').repeat(32) as Digest;

/** Two maps of one rank, one of them wide and one tall, and a head. */
function pairLayout(rank: number, [inSize, outSize] = [7, 9]): AdapterLayout {
  const pair = (name: string, width: number, height: number): TensorSpecification[] => [
    { name: `${name}.a`, shape: [rank, width], aggregationClass: 'mean', decays: true, pair: { name, factor: 'a' } },
    { name: `${name}.b`, shape: [height, rank], aggregationClass: 'mean', decays: true, pair: { name, factor: 'b' } },
  ];
  return layoutOf([
    ...pair('q', inSize, outSize),
    ...pair('v', outSize, inSize),
    { name: 'head.bias', shape: [3], aggregationClass: 'mean', decays: false },
  ]);
}

/** The exchange of a rule for {@link pairLayout}. */
export function exchangeFor(
  settings: Partial<ExchangeSettings>,
  { rank = 2, sizes = [7, 9] as [number, number] } = {},
): Exchange {
  const whole = { ...plainExchange, ...settings };
  const trained = federatedLayout(pairLayout(rank, sizes), whole);
  return exchangeOf(whole, federatedLayout(pairLayout(whole.publishedRank ?? rank, sizes), whole), trained);
}

/** One client: what its changes come from, its weight, its largest rank. */
export interface LowRankClient {
  readonly seed: number;
  readonly weight: number;
  readonly rankMax?: number;
  readonly personal?: Float32Array;
  /** The size of its changes; 1 by default. */
  readonly drift?: number;
}

/** What one client did. */
export interface ClientRound {
  readonly upload: Float32Array;
  /** The function that it ended with: dense maps by pair. */
  readonly maps: readonly Float64Array[];
  readonly personal: Float32Array;
}

/** Dense B A by pair, row by row `[out, in]`. */
export function mapsOf(layout: AdapterLayout, values: ArrayLike<number>): Float64Array[] {
  return pairsOf(layout).map(({ a, b, rank, inSize, outSize }: LowRankPair) => {
    const map = new Float64Array(inSize * outSize);
    for (let row = 0; row < outSize; row++)
      for (let column = 0; column < inSize; column++)
        for (let index = 0; index < rank; index++)
          map[row * inSize + column]! +=
            values[b.offset + row * rank + index]! * values[a.offset + index * inSize + column]!;
    return map;
  });
}

const sum = (left: readonly Float64Array[], right: readonly Float64Array[], scale = 1): Float64Array[] =>
  left.map((map, index) => map.map((value, place) => value + scale * right[index]![place]!));

/** Published values with A random and B random or zero. */
export function publishedOf(exchange: Exchange, seed: number, isNew = false): Float32Array {
  const random = seededRandom(seed, 'published');
  const values = new Float32Array(exchange.published.dim);
  const { published } = exchange;
  const restart = exchange.settings.lowRank === 'stack';
  for (const { published: whole, trained } of exchange.pairs) {
    const rank = restart ? 1 : trained.rank;
    for (let index = 0; index < rank * whole.inSize; index++) values[whole.a.offset + index] = random.normal();
    if (!isNew) {
      for (let row = 0; row < whole.outSize; row++)
        for (let index = 0; index < rank; index++) values[whole.b.offset + row * whole.rank + index] = random.normal();
    }
  }
  for (const { name, offset, size, aggregationClass } of published.tensors)
    if (name.startsWith('head') || aggregationClass === 'frozen' || aggregationClass === 'local')
      for (let index = 0; index < size; index++) values[offset + index] = random.normal();
  return values;
}

/** Trains one client by adding random numbers to everything that local training may change. */
export function trainClient(
  exchange: Exchange,
  published: Float32Array,
  client: LowRankClient,
  roundHash = hashOf(7),
): ClientRound {
  const { trained } = exchange;
  const random = seededRandom(client.seed, 'client');
  const freshValues = (): Float32Array => {
    const values = new Float32Array(trained.dim);
    const fresh = seededRandom(99, 'fresh');
    for (const { offset, size, pair } of trained.tensors)
      if (pair?.factor === 'a') for (let index = 0; index < size; index++) values[offset + index] = fresh.normal();
    return values;
  };
  const { start, frozen } = trainingStartOf(exchange, {
    published,
    rankMax: client.rankMax ?? null,
    personal: client.personal ?? null,
    fresh: freshValues,
  });
  const delta = new Float32Array(trained.dim);
  const cap = client.rankMax ?? Number.POSITIVE_INFINITY;
  for (const { offset, size, aggregationClass, pair, shape } of trained.tensors) {
    for (let index = 0; index < size; index++) {
      const value = (client.drift ?? 1) * random.normal();
      const rank = pair?.factor === 'a' ? Math.floor(index / shape[1]!) : index % shape.at(-1)!;
      if (aggregationClass !== 'frozen' && (pair === undefined || rank < cap)) delta[offset + index] = value;
    }
  }
  const after = start.map((value, index) => value + delta[index]!);
  const own = mapsOf(trained, after);
  return {
    upload: uploadOf(exchange, { start, delta, counts: new Map(), roundHash }),
    maps: frozen === null ? own : sum(own, mapsOf(exchange.published, frozen)),
    personal: personalOf(exchange, after),
  };
}

/** One round: the next version, its maps, and what they would be if maps were averaged densely. */
export async function runRound(
  exchange: Exchange,
  published: Float32Array,
  clients: readonly LowRankClient[],
  {
    learningRate = 1,
    rule: ruleName = 'fedavg',
    ids = clients.map((_, index) => index),
  }: {
    readonly learningRate?: number;
    readonly rule?: RuleOptions['rule'];
    readonly ids?: readonly number[];
  } = {},
): Promise<{
  readonly next: Float32Array;
  readonly measures: ReadonlyMap<Measure['name'], number>;
  readonly maps: readonly Float64Array[];
  readonly target: readonly Float64Array[];
  readonly rounds: readonly ClientRound[];
}> {
  const roundHash = hashOf(7);
  const rounds = clients.map((client) => trainClient(exchange, published, client, roundHash));
  const total = clients.reduce((all, { weight }) => all + weight, 0);
  const contributions = rounds.map(
    ({ upload }, index): Contribution => ({
      clientId: ids[index]!.toString(16).padStart(64, '0') as ClientId,
      weight: clients[index]!.weight,
      scan: async (take) => take(bytesOf(upload)),
    }),
  );
  const order = [...ids.keys()]
    .sort((left, right) => ids[left]! - ids[right]!)
    .filter((index) => clients[index]!.weight > 0);
  const mean = await foldMean(contributions, exchange.uploaded.dim);
  const rule = ruleOf({
    rule: ruleName,
    serverLearningRate: learningRate,
    momentum: 0,
    beta1: 0.9,
    beta2: 0.99,
    tau: 1e-3,
  });
  const { next, measures } = await combine({
    exchange,
    rule,
    state: rule.init(exchange.stepDim),
    start: published,
    mean,
    singles: readsSingles(exchange, order.length)
      ? order.map((index) => ({ share: clients[index]!.weight / total, values: rounds[index]!.upload }))
      : [],
    clientCount: order.length,
    roundHash,
    learningRate: ruleName === 'fedavg' ? learningRate : 1,
    giveTurn: async () => undefined,
  });
  const before = mapsOf(exchange.published, published);
  const target = rounds.reduce(
    (maps, round, index) => sum(maps, sum(round.maps, before, -1), (learningRate * clients[index]!.weight) / total),
    before,
  );
  return {
    next,
    measures: new Map(measures.map(({ name, value }) => [name, value])),
    maps: mapsOf(exchange.published, next),
    target,
    rounds,
  };
}

/** ‖left − right‖ / ‖right‖ over all maps. */
export function relativeError(left: readonly ArrayLike<number>[], right: readonly ArrayLike<number>[]): number {
  let [missed, whole] = [0, 0];
  for (const [index, map] of right.entries()) {
    for (let place = 0; place < map.length; place++) {
      missed += (left[index]![place]! - map[place]!) ** 2;
      whole += map[place]! ** 2;
    }
  }
  return whole === 0 ? Math.sqrt(missed) : Math.sqrt(missed / whole);
}
