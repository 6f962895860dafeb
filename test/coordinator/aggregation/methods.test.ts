/** Every adapter method under its own classes: the property tests of aggregation that need no model. */
import { strict as assert } from 'node:assert';
import { combine } from '../../../coordinator/aggregation/combine.ts';
import { foldMean } from '../../../coordinator/aggregation/fold.ts';
import { ruleOf } from '../../../coordinator/aggregation/rules.ts';
import { methodNames, parseAdapter } from '../../../shared/adapters/registry.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { type Exchange, exchangeOf } from '../../../shared/update/exchange.ts';
import { federatedLayout, plainExchange } from '../../../shared/update/federated-layout.ts';
import { layoutOf, trainsLocally } from '../../../shared/update/layout.ts';
import { uploadOf } from '../../../shared/update/upload.ts';
import { bertLike } from '../../shared/adapters/bases.ts';

const base = bertLike(2, 64, 128);
const roundHash = '07'.repeat(32) as Digest;
const members = [
  { id: 'one', method: 'bottleneck', size: 4 },
  { id: 'two', method: 'bottleneck', size: 4 },
];
/** Settings of methods that need some, or that show more of what they train with some. */
const settings: Readonly<Record<string, object>> = {
  bottleneck: { size: 4, scaling: 'channel', gate: true },
  hyperformer: { tasks: ['first', 'second'] },
  mixture: { size: 4, noise: true },
  stack: { members },
  fuse: { members },
  average: { members, learning: 'personal' },
  gate: { members: members.slice(0, 1), penalty: 0.1 },
  split: { members, at: [3] },
  'batch-split': { members },
  parallel: { members },
};

/** The exchange of a method with a head, and where it starts. */
function worldOf(method: string): { readonly exchange: Exchange; readonly start: Float32Array } {
  const adapter = parseAdapter({ method, ...settings[method] }, base);
  const head = { name: 'head.bias', shape: [3], aggregationClass: 'mean', decays: false } as const;
  const exchange = exchangeOf(plainExchange, federatedLayout(layoutOf([...adapter.tensors, head]), plainExchange));
  const start = new Float32Array(exchange.published.dim);
  for (const tensor of exchange.published.tensors) {
    if (tensor.name === head.name) continue;
    start.set(adapter.initialise(tensor, seededRandom(1, tensor.name)), tensor.offset);
  }
  return { exchange, start };
}

function uploadFor({ exchange, start }: ReturnType<typeof worldOf>, seed: number): Float32Array {
  const random = seededRandom(seed, 'client');
  const delta = new Float32Array(exchange.trained.dim);
  const counts = new Map<string, Float32Array>();
  for (const { name, offset, size, aggregationClass } of exchange.trained.tensors) {
    if (aggregationClass === 'count')
      counts.set(
        name,
        Float32Array.from({ length: size }, () => random.integer(4)),
      );
    if (trainsLocally(aggregationClass))
      for (let index = 0; index < size; index++) delta[offset + index] = 0.1 * random.normal();
  }
  return uploadOf(exchange, { start, delta, counts, roundHash });
}

async function nextOf(
  { exchange, start }: ReturnType<typeof worldOf>,
  clients: readonly { readonly id: number; readonly weight: number; readonly upload: Float32Array }[],
): Promise<Float32Array> {
  const rule = ruleOf({ rule: 'fedavg', serverLearningRate: 1, momentum: 0, beta1: 0, beta2: 0, tau: 1 });
  const contributions = clients.map(({ id, weight, upload }) => ({
    clientId: id.toString(16).padStart(64, '0') as ClientId,
    weight,
    scan: async (take: (part: Uint8Array) => void) => take(bytesOf(upload)),
  }));
  const { next } = await combine({
    exchange,
    rule,
    state: rule.init(exchange.stepDim),
    start,
    mean: await foldMean(contributions, exchange.uploaded.dim),
    singles: [],
    clientCount: clients.filter(({ weight }) => weight > 0).length,
    roundHash,
    learningRate: 1,
    giveTurn: async () => undefined,
  });
  return next;
}

describe('aggregation of every method', () => {
  for (const method of methodNames) {
    it(`[AGM-1] ${method}: (a) equal clients, (b) order, (c) one client, (e) weight 0, (g) halves`, async () => {
      const world = worldOf(method);
      const [first, second, third] = [1, 2, 3].map((seed) => uploadFor(world, seed));
      const own = [
        { id: 1, weight: 2, upload: first! },
        { id: 2, weight: 4, upload: second! },
        { id: 3, weight: 10, upload: third! },
      ];
      const alone = await nextOf(world, own.slice(0, 1));
      const near = (left: Float32Array, right: Float32Array, what: string): void => {
        for (const [index, value] of left.entries())
          assert.ok(Math.abs(value - right[index]!) <= 1e-6 * Math.max(1, Math.abs(value)), `${what}: value ${index}`);
      };
      near(
        await nextOf(
          world,
          [1, 2, 3].map((id) => ({ id, weight: id, upload: first! })),
        ),
        alone,
        '(a)',
      );
      const next = await nextOf(world, own);
      assert.deepEqual(await nextOf(world, [own[2]!, own[0]!, own[1]!]), next, '(b)');
      assert.deepEqual(await nextOf(world, [...own, { id: 9, weight: 0, upload: third! }]), next, '(e)');
      const halves = own.flatMap(({ id, weight, upload }) =>
        [0, 1].map((half) => ({ id: 10 * id + half, weight: weight / 2, upload })),
      );
      near(await nextOf(world, halves), next, '(g)');
      // (c): an upload holds what the client ended with, and what it does not hold stays.
      const { published, uploaded, stepDim } = world.exchange;
      for (const { name, offset, size, aggregationClass } of published.tensors) {
        const sent = uploaded.tensors.find((tensor) => tensor.name === name);
        const part = alone.subarray(offset, offset + size);
        if (sent === undefined) assert.deepEqual(part, world.start.subarray(offset, offset + size), name);
        else if (aggregationClass === 'mean' && sent.offset < stepDim)
          near(
            part,
            Float32Array.from(part, (_, index) => world.start[offset + index]! + first![sent.offset + index]!),
            name,
          );
        else if (aggregationClass === 'count') near(part, first!.subarray(sent.offset, sent.offset + size), name);
      }
    });
  }
});
