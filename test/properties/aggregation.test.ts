/**
 * The properties (a) to (g) of aggregation, for every method of the registry, under every rule of the server that fits it: equal clients, the order
 * of clients, one client, exactness, clients without weight, served forms (`served-forms.test.ts`), halves. And what stays with clients: whatever a
 * plan calls personal changes no byte of what is sent.
 */
import { strict as assert } from 'node:assert';
import { methodNames } from '../../shared/adapters/registry.ts';
import { seededRandom } from '../../shared/core/random.ts';
import type { LinearTarget } from '../../shared/model/base-model.ts';
import { type ExchangeSettings, pairsOf } from '../../shared/update/federated-layout.ts';
import { trainsLocally } from '../../shared/update/layout.ts';
import { declarationOf, lowRankRuleNames } from '../../shared/update/low-rank-rules.ts';
import { distance, type Effect, effectOf, meanOf, type Values } from './effects.ts';
import { type MethodCase, methodCases } from './method-cases.ts';
import { base, type MethodWorld, nextOf, type Trained, train, valuesIn, worldOf } from './method-round.ts';

const weights = [2, 4, 10] as const;

/** Ways to weigh and to combine that a case goes through: its own, weights of sites, and every rule for pairs where it has open ones. */
function rulesOf(method: string, { settings, aggregation = {} }: MethodCase): Partial<ExchangeSettings>[] {
  const { lowRank: _, publishedRank: _rank, ...own } = aggregation;
  const { exchange } = worldOf({ method, ...settings }, own);
  const isOpen = exchange.published.tensors.some(
    ({ pair, aggregationClass }) => pair !== undefined && aggregationClass === 'mean',
  );
  const pairRules = lowRankRuleNames.map((lowRank): Partial<ExchangeSettings> => {
    const publishedRank = method === 'lora' && declarationOf(lowRank).publishesRank ? { publishedRank: 24 } : {};
    return { ...own, lowRank, ...publishedRank, ...(lowRank === 'sketch' ? { sketchSize: 12 } : {}) };
  });
  // Beside other members there is no rank to publish, so that stacks would be cut at once.
  const fitting = pairRules.filter(
    ({ lowRank }) => method === 'lora' || (lowRank !== 'stack' && lowRank !== 'residual'),
  );
  return [own, { ...own, weighting: 'given' }, ...(isOpen ? fitting : [])];
}

/** What a version computes with, as far as rules decide it: of pairs whose products are combined the products, else the values. */
function signatureOf({ exchange: { published } }: MethodWorld, next: Float32Array): number[] {
  const combined = pairsOf(published).filter(({ a }) => a.aggregationClass === 'low-rank');
  const factors = new Set(combined.flatMap(({ a, b }) => [a.name, b.name]));
  const plain = published.tensors.flatMap(({ name, offset, size }) =>
    factors.has(name) ? [] : [...next.subarray(offset, offset + size)],
  );
  const products = combined.flatMap(({ a, b, rank, inSize, outSize }) =>
    Array.from({ length: inSize * outSize }, (_, place) => {
      const [row, column] = [Math.floor(place / inSize), place % inSize];
      let sum = 0;
      for (let index = 0; index < rank; index++)
        sum += next[b.offset + row * rank + index]! * next[a.offset + index * inSize + column]!;
      return sum;
    }),
  );
  return [...plain, ...products];
}

function assertNear(found: readonly number[], expected: readonly number[], what: string): void {
  assert.equal(found.length, expected.length);
  const scale = Math.max(1, ...expected.map(Math.abs));
  for (const [index, value] of expected.entries())
    assert.ok(
      Math.abs(found[index]! - value) <= 2e-6 * scale,
      `${what}: value ${index} is ${found[index]}, not ${value}`,
    );
}

/** The frozen maps of the base with an adapter in them. */
function mergedMaps(adapter: MethodWorld['trained'], parameters: Values): Effect[] {
  const random = seededRandom(7, 'maps');
  const values = parameters as ReadonlyMap<string, Float32Array>;
  return Array.from({ length: base.layerCount }, (_, layerIndex) => layerIndex).flatMap((layerIndex) =>
    Object.entries(base.linearTargets).flatMap(([target, { inSize, outSize }]) => {
      const kernel = Float32Array.from({ length: inSize * outSize }, () => random.normal());
      const bias = Float32Array.from({ length: outSize }, () => random.normal());
      const merged = adapter.merge!({ layerIndex, target: target as LinearTarget }, { kernel, bias }, values);
      return merged === undefined ? [] : effectOf(`${layerIndex}.${target}`, [...merged.kernel, ...merged.bias!]);
    }),
  );
}

const effectsOf = ({ exact }: MethodCase, adapter: MethodWorld['trained'], parameters: Values): readonly Effect[] =>
  exact === 'maps' ? mergedMaps(adapter, parameters) : exact(parameters);

/** How far the published function is from the weighted mean of those of the clients, in what should be exact. */
async function missedBy(
  one: MethodCase,
  world: MethodWorld,
  trained: readonly Trained[],
): Promise<{ readonly missed: number; readonly count: number }> {
  const { published } = world.exchange;
  const next = await nextOf(
    world,
    trained.map(({ upload }, id) => ({ id, weight: weights[id]!, upload })),
  );
  const before = effectsOf(one, world.published, valuesIn(published, world.start));
  const found = effectsOf(one, world.published, valuesIn(published, next));
  const clients = trained.map(({ after }) => effectsOf(one, world.trained, after));
  const vectors = found.map(({ name, values }, index) => {
    const own = clients.map((effects, id) => ({ ...effects[index]!, weight: weights[id]! }));
    assert.ok(own.every((effect) => effect.name === name));
    const { values: start } = before[index]!;
    return { found: values, before: start, expected: meanOf(own) ?? start };
  });
  return { missed: distance(vectors), count: vectors.length };
}

describe('properties of aggregation', () => {
  it('[PRP-1] the table has every method of the registry, and nothing else', () => {
    assert.deepEqual(Object.keys(methodCases).sort(), [...methodNames].sort());
  });

  for (const [method, cases] of Object.entries(methodCases)) {
    for (const [index, one] of cases.entries()) {
      const configuration = { method, ...one.settings };
      const what = `${method}${cases.length > 1 ? ` ${index + 1}` : ''}`;

      it(`[PRP-2] ${what}: (a) equal clients, (b) order, (e) no weight, (g) halves, under every rule`, async () => {
        for (const rules of rulesOf(method, one)) {
          const world = worldOf(configuration, rules);
          const name = `${what} ${JSON.stringify(rules)}`;
          const given = rules.weighting === 'given';
          const own = weights.map((weight, id) => {
            const { upload } = train(world, id, given ? { siteWeight: 0.25 * (id + 1) } : {});
            return { id, weight, upload };
          });
          const alone = await nextOf(world, own.slice(0, 1));
          const equal = own.map((client) => ({ ...client, upload: own[0]!.upload }));
          assertNear(signatureOf(world, await nextOf(world, equal)), signatureOf(world, alone), `(a) ${name}`);
          const next = await nextOf(world, own);
          assert.deepEqual(await nextOf(world, [own[2]!, own[0]!, own[1]!]), next, `(b) ${name}`);
          assert.deepEqual(await nextOf(world, [...own, { ...own[1]!, id: 9, weight: 0 }]), next, `(e) ${name}`);
          const halves = own.flatMap((client) =>
            [0, 1].map((half) => ({ ...client, id: 10 * client.id + half, weight: client.weight / 2 })),
          );
          assertNear(signatureOf(world, await nextOf(world, halves)), signatureOf(world, next), `(g) ${name}`);
          const nobody = own.map((client) => ({ ...client, weight: 0 }));
          assert.deepEqual(await nextOf(world, nobody), world.start, `(e), nobody: ${name}`);
          if (!given) continue;
          const idle = { id: 9, weight: 3, upload: train(world, 9, { siteWeight: 0 }).upload };
          assertNear(
            signatureOf(world, await nextOf(world, [...own, idle])),
            signatureOf(world, next),
            `(e), 0: ${name}`,
          );
        }
      });

      it(`[PRP-3] ${what}: (c) one client alone, and (d) what is linear is exact${one.limits === undefined ? '' : `; not linear: ${one.limits}`}`, async () => {
        const world = worldOf(configuration, one.aggregation);
        const trained = weights.map((_, id) => train(world, id));
        const all = await missedBy(one, world, trained);
        assert.ok(all.missed < 1e-5, `(d) off by ${all.missed}`);
        const alone = await missedBy(one, world, trained.slice(0, 1));
        assert.ok(alone.missed < 1e-5, `(c) off by ${alone.missed}`);
        assert.ok(all.count > 0 || one.limits !== undefined, 'something is compared');
        if (one.biasedWithout === true) {
          const biased = worldOf(configuration);
          const { missed } = await missedBy(
            one,
            biased,
            weights.map((_, id) => train(biased, id)),
          );
          assert.ok(missed > 0.01, `without ${JSON.stringify(one.aggregation)} it is off by ${missed} only`);
        }
      });

      it(`[PRP-4] ${what}: whatever a plan calls personal is kept whole, and changes no byte of what is sent`, () => {
        const { exchange } = worldOf(configuration);
        const open = exchange.trained.tensors.filter(({ aggregationClass }) => trainsLocally(aggregationClass));
        const beginnings = new Set(
          open.flatMap(({ name }) => {
            const words = name.split('.');
            return words.map((_, end) => words.slice(0, end + 1).join('.'));
          }),
        );
        for (const personal of beginnings) {
          const isOwn = (name: string): boolean => name === personal || name.startsWith(`${personal}.`);
          // A plan must leave something that clients share.
          if (open.every(({ name, aggregationClass }) => aggregationClass === 'local' || isOwn(name))) continue;
          const world = worldOf(configuration, { personal: [personal] });
          const { published, uploaded, trained } = world.exchange;
          for (const { name, aggregationClass } of published.tensors)
            if (isOwn(name))
              assert.ok(['local', 'frozen', 'count'].includes(aggregationClass), `${name} of ${personal}`);
          for (const { name, aggregationClass } of uploaded.tensors)
            assert.ok(!isOwn(name) || aggregationClass === 'count', `${name} of ${personal} is sent`);
          const client = train(world, 3);
          const further = train(world, 3, { perturbed: isOwn });
          assert.deepEqual(further.upload, client.upload, personal);
          const kept = trained.tensors.flatMap(({ name, aggregationClass }) =>
            aggregationClass === 'local' ? Array.from(client.after.get(name)!) : [],
          );
          assert.deepEqual([...client.personal], kept, personal);
          assert.ok(kept.length > 0, personal);
        }
      });
    }
  }
});
