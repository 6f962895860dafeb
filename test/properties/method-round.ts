/** One round of a federation of one method, from random changes of its clients to the next version, without models and transport. */
import { combine, readsSingles } from '../../coordinator/aggregation/combine.ts';
import { foldMean } from '../../coordinator/aggregation/fold.ts';
import { ruleOf } from '../../coordinator/aggregation/rules.ts';
import type { LoraConfiguration } from '../../shared/adapters/lora.ts';
import { loraOfRank } from '../../shared/adapters/lora-rank.ts';
import { type BoundAdapter, parseAdapter } from '../../shared/adapters/registry.ts';
import { bytesOf } from '../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { type Exchange, exchangeOf } from '../../shared/update/exchange.ts';
import { type ExchangeSettings, federatedLayout, plainExchange } from '../../shared/update/federated-layout.ts';
import { layoutOf, trainsLocally } from '../../shared/update/layout.ts';
import { firstPublished, personalOf, trainingStartOf } from '../../shared/update/training-start.ts';
import { uploadOf } from '../../shared/update/upload.ts';
import { bertLike } from '../shared/adapters/bases.ts';
import type { Values } from './effects.ts';

/** The base of all rounds here. */
export const base = bertLike(2, 16, 32);
const roundHash = '07'.repeat(32) as Digest;
const head = { name: 'head.bias', shape: [3], aggregationClass: 'mean', decays: false } as const;

/** A method in a federation. */
export interface MethodWorld {
  /** As it is published, and as it is trained. */
  readonly published: BoundAdapter;
  readonly trained: BoundAdapter;
  readonly exchange: Exchange;
  /** `[published dim]`, of a round in the middle: nothing is as it began. */
  readonly start: Float32Array;
}

/** What a client made of a round. */
export interface Trained {
  readonly upload: Float32Array;
  /** What it ended with, by name: parameters as trained, and what it counted. */
  readonly after: Values;
  readonly personal: Float32Array;
}

/** The world of a method under the rules of a plan, with a head of its own beside the adapter. */
export function worldOf(
  configuration: { readonly method: string },
  further: Partial<ExchangeSettings> = {},
): MethodWorld {
  const settings = { ...plainExchange, ...further };
  const trained = parseAdapter(configuration, base);
  const { publishedRank } = settings;
  const published = publishedRank === undefined ? trained : ofRank(trained, publishedRank);
  const layoutFor = (adapter: BoundAdapter) => federatedLayout(layoutOf([...adapter.tensors, head]), settings);
  const exchange = exchangeOf(settings, layoutFor(published), layoutFor(trained));
  const own = exchange.trained;
  const values = new Float32Array(own.dim);
  const random = seededRandom(1, 'start');
  for (const tensor of own.tensors) {
    const { name, offset, size, aggregationClass } = tensor;
    if (name !== head.name) values.set(trained.initialise(tensor, random.fork(name)), offset);
    if (aggregationClass === 'count' || aggregationClass === 'frozen') continue;
    for (let index = offset; index < offset + size; index++) values[index]! += 0.1 * random.normal();
  }
  return { published, trained, exchange, start: firstPublished(exchange, values) };
}

function ofRank({ configuration }: BoundAdapter, rank: number): BoundAdapter {
  const { method, ...settings } = configuration;
  return parseAdapter({ method, ...loraOfRank(settings as unknown as LoraConfiguration, rank, base) }, base);
}

/** What training with a seed makes of a round's start; `drift` is how far it goes. */
export function train(
  { exchange, start: version, trained: adapter }: MethodWorld,
  seed: number,
  { drift = 0.3, siteWeight, perturbed }: TrainOptions = {},
): Trained {
  const { trained } = exchange;
  const fresh = (): Float32Array => {
    const values = new Float32Array(trained.dim);
    for (const tensor of trained.tensors)
      if (tensor.name !== head.name)
        values.set(adapter.initialise(tensor, seededRandom(2, tensor.name)), tensor.offset);
    return values;
  };
  const { start } = trainingStartOf(exchange, { published: version, rankMax: null, personal: null, fresh });
  const delta = new Float32Array(trained.dim);
  const counts = new Map<string, Float32Array>();
  for (const { name, offset, size, aggregationClass } of trained.tensors) {
    const random = seededRandom(seed, 'client', name);
    if (aggregationClass === 'count')
      counts.set(
        name,
        Float32Array.from({ length: size }, () => random.integer(4)),
      );
    if (!trainsLocally(aggregationClass)) continue;
    for (let index = offset; index < offset + size; index++) delta[index] = drift * random.normal();
    if (perturbed?.(name) === true) for (let index = offset; index < offset + size; index++) delta[index]! += 1;
  }
  const own = siteWeight === undefined ? {} : { siteWeight };
  const after = start.map((value, index) => value + delta[index]!);
  return {
    upload: uploadOf(exchange, { start, delta, counts, roundHash, ...own }).slice(),
    after: new Map([...valuesIn(trained, after), ...counts]),
    personal: personalOf(exchange, after),
  };
}

/** What a training may be asked for. */
export interface TrainOptions {
  readonly drift?: number;
  readonly siteWeight?: number;
  /** Tensors that are moved further than with the seed alone. */
  readonly perturbed?: (name: string) => boolean;
}

/** One client of a round. */
export interface Sent {
  readonly id: number;
  readonly weight: number;
  readonly upload: Float32Array;
}

/** The next version `[published dim]`. */
export async function nextOf({ exchange, start }: MethodWorld, clients: readonly Sent[]): Promise<Float32Array> {
  const rule = ruleOf({ rule: 'fedavg', serverLearningRate: 1, momentum: 0, beta1: 0, beta2: 0, tau: 1 });
  const contributions = clients.map(({ id, weight, upload }) => ({
    clientId: id.toString(16).padStart(64, '0') as ClientId,
    weight,
    scan: async (take: (part: Uint8Array) => void) => take(bytesOf(upload)),
  }));
  const counted = clients.filter(({ weight }) => weight > 0).sort((left, right) => left.id - right.id);
  const total = counted.reduce((sum, { weight }) => sum + weight, 0);
  const { next } = await combine({
    exchange,
    rule,
    state: rule.init(exchange.stepDim),
    start,
    mean: await foldMean(contributions, exchange.uploaded.dim),
    singles: readsSingles(exchange, counted.length)
      ? counted.map(({ weight, upload }) => ({ share: weight / total, values: upload }))
      : [],
    clientCount: counted.length,
    roundHash,
    learningRate: 1,
    giveTurn: async () => undefined,
  });
  return next;
}

/** Values by name, as views. */
export function valuesIn({ tensors }: Exchange['published'], values: Float32Array): Map<string, Float32Array> {
  return new Map(tensors.map(({ name, offset, size }) => [name, values.subarray(offset, offset + size)]));
}
