import { strict as assert } from 'node:assert';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import type { ExchangeSettings } from '../../../shared/update/federated-layout.ts';
import { federatedLayout, pairsOf, plainExchange } from '../../../shared/update/federated-layout.ts';
import { layoutOf, specificationOf, type TensorSpecification } from '../../../shared/update/layout.ts';

const factor = (name: string, which: 'a' | 'b', shape: readonly number[], more: Partial<TensorSpecification> = {}) =>
  ({
    name: `${name}.${which}`,
    shape,
    aggregationClass: 'mean',
    decays: true,
    pair: { name, factor: which },
    ...more,
  }) as const;
const layout = layoutOf([
  factor('layers.0.q', 'a', [2, 4]),
  factor('layers.0.q', 'b', [3, 2]),
  factor('layers.1.q', 'a', [2, 4]),
  factor('layers.1.q', 'b', [3, 2]),
  { name: 'head.kernel', shape: [4, 2], aggregationClass: 'mean', decays: true },
  { name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false },
]);
const classesOf = (settings: Partial<ExchangeSettings>): string[] =>
  federatedLayout(layout, { ...plainExchange, ...settings }).tensors.map(({ aggregationClass }) => aggregationClass);

const times = (count: number, name: string): string[] => Array.from({ length: count }, () => name);

describe('federated layout', () => {
  it('[FLA-1] gives factors the classes of the rule and leaves the rest as the method declares it', () => {
    assert.deepEqual(federatedLayout(layout, plainExchange), layout);
    assert.deepEqual(classesOf({ lowRank: 'freeze-a' }), ['frozen', 'mean', 'frozen', 'mean', 'mean', 'mean']);
    assert.deepEqual(classesOf({ lowRank: 'share-a' }), ['mean', 'local', 'mean', 'local', 'mean', 'mean']);
    assert.deepEqual(classesOf({ lowRank: 'svd' }), [...times(4, 'low-rank'), 'mean', 'mean']);
  });

  it('[FLA-9] a dense map in front of a head has no part for a label: it is averaged as a whole', () => {
    const dense = { name: 'head.hidden.kernel', shape: [4, 4], aggregationClass: 'mean', decays: true } as const;
    const whole = layoutOf([dense, ...layout.tensors.slice(-2).map(specificationOf)]);
    const classes = federatedLayout(whole, { ...plainExchange, head: 'by-label' }).tensors.map(
      (tensor) => tensor.aggregationClass,
    );
    assert.deepEqual(classes, ['mean', 'count-weighted', 'count-weighted']);
  });

  it('[FLA-2] personal parts are named by the beginning of their names, whole words only', () => {
    assert.deepEqual(classesOf({ personal: ['head'] }), [...times(4, 'mean'), 'local', 'local']);
    assert.deepEqual(classesOf({ personal: ['layers.1', 'head.bias'], lowRank: 'svd' }), [
      'low-rank',
      'low-rank',
      'local',
      'local',
      'mean',
      'local',
    ]);
    assert.throws(() => classesOf({ personal: ['head', 'layer'] }), {
      code: 'bad-plan',
      message: 'the plan: aggregation.personal[1] must begin the name of a tensor, such as layers.0.q.a, found "layer"',
    });
  });

  it('[FLA-7] frozen parts are not trained, whatever else they would be; a star is any word', () => {
    assert.deepEqual(classesOf({ frozen: ['layers.*.q.a'] }), ['frozen', 'mean', 'frozen', 'mean', 'mean', 'mean']);
    assert.deepEqual(classesOf({ frozen: ['*.*'], personal: ['head'] }), times(6, 'frozen'));
    assert.throws(() => classesOf({ frozen: ['layers.*.*.*.*'] }), {
      code: 'bad-plan',
      message: /aggregation\.frozen\[0\] must begin/,
    });
  });

  it('[FLA-8] products are combined of whole pairs: half of one cannot be frozen or personal', () => {
    const message = /must name both factors of layers\.0\.q or none with the rule svd; freeze-a and share-a/;
    assert.throws(() => classesOf({ lowRank: 'svd', frozen: ['layers.*.q.a'] }), { code: 'bad-plan', message });
    assert.throws(() => classesOf({ lowRank: 'svd', personal: ['layers.0.q.b'] }), { code: 'bad-plan', message });
    assert.deepEqual(classesOf({ lowRank: 'svd', frozen: ['layers.0'] }).slice(0, 3), ['frozen', 'frozen', 'low-rank']);
  });

  it('[FLA-3] a rule for pairs is refused without pairs, and what a method froze stays frozen', () => {
    const bare = layoutOf([{ name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false }]);
    assert.throws(() => federatedLayout(bare, { ...plainExchange, lowRank: 'svd' }), {
      code: 'bad-plan',
      message: /lowRank must be factor-avg/,
    });
    const frozen = layoutOf([
      factor('q', 'a', [2, 4], { aggregationClass: 'frozen' }),
      factor('q', 'b', [3, 2], { aggregationClass: 'frozen' }),
    ]);
    assert.throws(() => federatedLayout(frozen, { ...plainExchange, lowRank: 'svd' }), /lowRank must be factor-avg/);
    assert.throws(() => exchangeOf(plainExchange, frozen), {
      code: 'bad-plan',
      message: 'the plan: aggregation.personal must leave something that clients share',
    });
    const bias = { name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false } as const;
    const exchange = exchangeOf(plainExchange, layoutOf([...frozen.tensors.map(specificationOf), bias]));
    assert.deepEqual([exchange.pairs.length, exchange.uploaded.dim], [0, 2]);
  });

  it('[FLA-6] an upload beyond the largest vector is refused before anybody trains', () => {
    const wide = layoutOf([factor('q', 'a', [2, 2 ** 14]), factor('q', 'b', [2 ** 13, 2])]);
    const settings = { ...plainExchange, lowRank: 'dense' } as const;
    assert.throws(
      () => exchangeOf(settings, federatedLayout(wide, settings)),
      /lowRank must be a rule with smaller uploads/,
    );
  });

  it('[FLA-4] pairs are found by their name, and half a pair is refused', () => {
    assert.deepEqual(
      pairsOf(layout).map(({ name, rank, inSize, outSize }) => [name, rank, inSize, outSize]),
      [
        ['layers.0.q', 2, 4, 3],
        ['layers.1.q', 2, 4, 3],
      ],
    );
    assert.throws(() => pairsOf(layoutOf([factor('q', 'a', [2, 4])])), /must have one B/);
    assert.throws(() => pairsOf(layoutOf([factor('q', 'a', [2, 4]), factor('q', 'b', [3, 1])])), /of its rank/);
  });

  const expert = (place: number) =>
    ({
      name: `layers.0.experts.${place}`,
      shape: [4],
      aggregationClass: 'count-weighted',
      decays: true,
      countName: 'layers.0.uses',
      countIndex: place,
    }) as const;
  const mixture = layoutOf([
    { name: 'layers.0.up', shape: [2, 3], aggregationClass: 'mean', decays: true },
    { name: 'layers.0.scale', shape: [3], aggregationClass: 'folded', decays: false, foldInto: ['layers.0.up'] },
    expert(0),
    expert(1),
    { name: 'layers.0.uses', shape: [2], aggregationClass: 'count', decays: false },
    { name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false },
  ]);
  const mixtureClasses = (settings: Partial<ExchangeSettings>, sendsCounts = true): string =>
    federatedLayout(mixture, { ...plainExchange, ...settings }, sendsCounts)
      .tensors.map(({ aggregationClass }) => aggregationClass)
      .join();

  it('[FLA-10] a scale and counts go with what they are for: what stays with the client takes them along', () => {
    const weighted = 'count-weighted,count-weighted,count';
    assert.equal(mixtureClasses({}), `mean,folded,${weighted},mean`);
    assert.equal(mixtureClasses({ personal: ['layers.0'] }), 'local,local,local,local,frozen,mean');
    assert.equal(mixtureClasses({ personal: ['layers.0.up'] }), `local,local,${weighted},mean`);
    assert.equal(mixtureClasses({ personal: ['layers.0.scale'] }), `mean,local,${weighted},mean`);
    assert.equal(mixtureClasses({ frozen: ['layers.0.up'] }), `frozen,mean,${weighted},mean`);
    const one = 'mean,folded,local,count-weighted,count,mean';
    assert.equal(mixtureClasses({ personal: ['layers.0.experts.0'] }), one);
    assert.throws(
      () => mixtureClasses({ personal: ['layers.0.uses'] }),
      /personal\[0\] must name what the counts weigh/,
    );
  });

  it('[FLA-11] where no counts may be sent, what they weigh is averaged as it is', () => {
    assert.equal(mixtureClasses({}, false), 'mean,folded,mean,mean,frozen,mean');
    assert.ok(federatedLayout(mixture, plainExchange, false).tensors.every(({ countName }) => countName === undefined));
  });

  it('[FLA-5] uploads of the rules: sizes as the table of costs says', () => {
    const dims = (settings: Partial<ExchangeSettings>): number => {
      const whole = { ...plainExchange, ...settings };
      return exchangeOf(whole, federatedLayout(layout, whole)).uploaded.dim - 10;
    };
    const [m, n, r] = [3, 4, 2];
    assert.equal(dims({ lowRank: 'factor-avg' }), 2 * r * (m + n));
    assert.equal(dims({ lowRank: 'freeze-a' }), 2 * r * m);
    assert.equal(dims({ lowRank: 'share-a' }), 2 * r * n);
    assert.equal(dims({ lowRank: 'svd' }), 2 * r * (m + n));
    assert.equal(dims({ lowRank: 'residual' }), 2 * r * (m + n));
    assert.equal(dims({ lowRank: 'dense' }), 2 * m * n);
    assert.equal(dims({ lowRank: 'sketch', sketchSize: 1 }), 2 * (m + 3 * n));
    assert.throws(() => dims({ lowRank: 'sketch' }), /sketchSize must be given/);
  });
});
