import { strict as assert } from 'node:assert';
import { combine } from '../../../coordinator/aggregation/combine.ts';
import { foldMean } from '../../../coordinator/aggregation/fold.ts';
import { ruleOf } from '../../../coordinator/aggregation/rules.ts';
import { bytesOf } from '../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../shared/core/ids.ts';
import { countRanges, type Exchange, exchangeOf } from '../../../shared/update/exchange.ts';
import {
  type ExchangeSettings,
  federatedLayout,
  ownersName,
  plainExchange,
  siteWeightName,
} from '../../../shared/update/federated-layout.ts';
import { layoutOf, type TensorSpecification } from '../../../shared/update/layout.ts';
import { checkCounts, uploadOf } from '../../../shared/update/upload.ts';

const roundHash = '07'.repeat(32) as Digest;
const tensor = (
  name: string,
  shape: readonly number[],
  more: Partial<TensorSpecification> = {},
): TensorSpecification => {
  return { name, shape, aggregationClass: 'mean', decays: false, ...more };
};
const exchangeWith = (tensors: readonly TensorSpecification[], settings: Partial<ExchangeSettings> = {}): Exchange => {
  const whole = { ...plainExchange, ...settings };
  return exchangeOf(whole, federatedLayout(layoutOf(tensors), whole));
};

/** What one client brings. */
interface Site {
  readonly weight: number;
  readonly delta: readonly number[];
  readonly counts?: Readonly<Record<string, readonly number[]>>;
  readonly siteWeight?: number;
}

/** The next adapter after one round of FedAvg. */
async function round(exchange: Exchange, start: readonly number[], sites: readonly Site[]): Promise<number[]> {
  const contributions = sites.map(({ weight, delta, counts = {}, siteWeight }, index) => {
    const upload = uploadOf(exchange, {
      start: Float32Array.from(start),
      delta: Float32Array.from(delta),
      counts: new Map(Object.entries(counts).map(([name, values]) => [name, Float32Array.from(values)])),
      roundHash,
      ...(siteWeight === undefined ? {} : { siteWeight }),
    });
    const scan = async (take: (part: Uint8Array) => void) => take(bytesOf(upload));
    return { clientId: index.toString(16).padStart(64, '0') as ClientId, weight, scan };
  });
  const rule = ruleOf({ rule: 'fedavg', serverLearningRate: 1, momentum: 0, beta1: 0, beta2: 0, tau: 1 });
  const { next } = await combine({
    exchange,
    rule,
    state: rule.init(exchange.stepDim),
    start: Float32Array.from(start),
    mean: await foldMean(contributions, exchange.uploaded.dim),
    singles: [],
    clientCount: sites.filter(({ weight }) => weight > 0).length,
    roundHash,
    learningRate: 1,
    giveTurn: async () => undefined,
  });
  return [...next];
}

const expertTensors = [
  tensor('uses', [2], { aggregationClass: 'count' }),
  tensor('experts', [2, 2], { aggregationClass: 'count-weighted', countName: 'uses' }),
  tensor('second', [2], { aggregationClass: 'count-weighted', countName: 'uses', countIndex: 1 }),
];

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

describe('uploads', () => {
  it('[UPL-1] where everything is averaged, the delta is the upload: the same memory', () => {
    const exchange = exchangeWith([tensor('a', [2]), tensor('b', [1])]);
    assert.equal(exchange.isPlain, true);
    assert.deepEqual(exchange.uploaded, exchange.published);
    const delta = Float32Array.of(1, 2, 3);
    assert.equal(uploadOf(exchange, { start: new Float32Array(3), delta, counts: new Map(), roundHash }), delta);
  });

  it('[UPL-2] frozen and local tensors are not in an upload and keep their published values', async () => {
    const exchange = exchangeWith([
      tensor('frozen', [2], { aggregationClass: 'frozen' }),
      tensor('own', [1], { aggregationClass: 'local' }),
      tensor('shared', [2]),
    ]);
    assert.deepEqual(
      exchange.uploaded.tensors.map(({ name }) => name),
      ['shared'],
    );
    assert.equal(exchange.isPlain, false);
    const sites = [
      { weight: 1, delta: [0, 0, 9, 1, 2] },
      { weight: 3, delta: [0, 0, 7, 5, 6] },
    ];
    assert.deepEqual(await round(exchange, [1, 2, 3, 10, 20], sites), [1, 2, 3, 14, 25]);
  });

  it('[UPL-3] experts: deltas weigh by use, statistics are their mean, what nobody used stays', async () => {
    const exchange = exchangeWith(expertTensors);
    assert.deepEqual(
      exchange.uploaded.tensors.map(({ name }) => name),
      ['experts', 'second', 'uses'],
    );
    const start = [0.5, 0.5, 1, 1, 2, 2, 3, 3];
    // Expert 0: (2 · 1 · 4 + 1 · 4 · 1) / (2 · 1 + 1 · 4) = 2; nobody used expert 1.
    const sites = [
      { weight: 2, delta: [0, 0, 4, 4, 9, 9, 9, 9], counts: { uses: [1, 0] } },
      { weight: 1, delta: [0, 0, 1, 1, 9, 9, 9, 9], counts: { uses: [4, 0] } },
    ];
    assert.deepEqual(await round(exchange, start, sites), [2, 0, 3, 3, 2, 2, 3, 3]);
    const used = sites.map((site) => ({ ...site, counts: { uses: [1, 2] } }));
    assert.deepEqual(await round(exchange, start, used), [1, 2, 4, 4, 11, 11, 12, 12]);
  });

  it('[UPL-4] weights, permutations and halves: experts pass the property tests (a), (b), (c), (e), (g)', async () => {
    const exchange = exchangeWith(expertTensors);
    const start = [0.5, 0.5, 1, 1, 2, 2, 3, 3];
    const site = { weight: 4, delta: [0, 0, 0.5, 1, 2, 4, 8, 16], counts: { uses: [3, 1] } };
    const other = { weight: 2, delta: [0, 0, 1, 1, 1, 1, 1, 1], counts: { uses: [0, 2] } };
    const alone = [3, 1, 1.5, 2, 4, 6, 11, 19];
    assert.deepEqual(await round(exchange, start, [site]), alone);
    assert.deepEqual(await round(exchange, start, [site, site, { ...site, weight: 9 }]), alone);
    assert.deepEqual(await round(exchange, start, [site, { ...other, weight: 0 }]), alone);
    const half = { ...site, weight: 2 };
    assert.deepEqual(await round(exchange, start, [half, half, other]), await round(exchange, start, [site, other]));
  });

  it('[UPL-5] a head by label: every label is the mean over those who have rows of it, one that nobody has stays', async () => {
    const exchange = exchangeWith([tensor('head.kernel', [2, 3]), tensor('head.bias', [3])], { head: 'by-label' });
    const owners = (...has: readonly number[]) => ({ [ownersName]: has });
    const sites = [
      { weight: 1, delta: [1, 1, 1, 1, 1, 1, 1, 1, 1], counts: owners(1, 1, 0) },
      { weight: 3, delta: [5, 5, 5, 5, 5, 5, 5, 5, 5], counts: owners(0, 1, 0) },
    ];
    assert.deepEqual(await round(exchange, zeros(9), sites), [1, 4, 0, 1, 4, 0, 1, 4, 0]);
    assert.equal(
      exchange.published.tensors.some(({ name }) => name === ownersName),
      false,
    );
    assert.deepEqual(exchange.uploaded.tensors.at(-1)?.shape, [3]);
  });

  it('[UPL-6] scales are folded before averaging: the mean of what adapters compute, not of their parts', async () => {
    const exchange = exchangeWith([
      tensor('scale', [1], { aggregationClass: 'folded', foldInto: ['up', 'bias'] }),
      tensor('channels', [2], { aggregationClass: 'folded', foldInto: ['up'] }),
      tensor('up', [1, 2]),
      tensor('bias', [2]),
    ]);
    // Site one: (2 + 0) · (1 + 1) · (4, 4); site two: (2 + 2) · (1, 1) · (4, 8): seen from the scale 2 that stays.
    const start = [2, 1, 1, 4, 4, 1, 1];
    const sites = [
      { weight: 1, delta: [0, 1, 0, 0, 0, 0, 0] },
      { weight: 1, delta: [2, 0, 0, 0, 4, 1, 0] },
    ];
    assert.deepEqual(await round(exchange, start, sites), [2, 1, 1, 8, (4 + 16) / 2, (1 + 4) / 2, (1 + 2) / 2]);
    assert.deepEqual(await round(exchange, start, sites.slice(1)), [2, 1, 1, 8, 16, 4, 2]);
    await assert.rejects(round(exchange, [0, 1, 1, 4, 4, 1, 1], sites), /scale begins above 0/);
  });

  it('[UPL-7] counts that are missing, negative or of another length are a bug of the learner', () => {
    const exchange = exchangeWith(expertTensors);
    const upload = (counts: Readonly<Record<string, readonly number[]>>) => () =>
      round(exchange, zeros(8), [{ weight: 1, delta: zeros(8), counts }]);
    return Promise.all([
      assert.rejects(upload({}), /counts of uses/),
      assert.rejects(upload({ uses: [1] }), /2 counts of uses/),
      assert.rejects(upload({ uses: [1, -1] }), /not negative/),
    ]);
  });

  it('[UPL-11] counts beyond what a round takes are refused before they are sent: by name, bound, place and value', () => {
    const exchange = exchangeWith([...expertTensors, tensor('head.bias', [2])], { head: 'by-label' });
    const [uses, owners] = ['uses', ownersName].map(
      (name) => exchange.uploaded.tensors.find((tensor) => tensor.name === name)!,
    );
    const refused = (place: number, value: number, message: RegExp, carried?: number): void => {
      const upload = new Float32Array(exchange.uploaded.dim);
      const check = () => checkCounts(upload, countRanges(exchange, carried));
      check();
      upload[place] = value;
      assert.throws(check, { code: 'bad-counts', message });
    };
    refused(
      uses!.offset + 1,
      2 ** 20 + 1,
      /counts of uses .*0 to 1048576 uses per example .*found 1048577 at place 1 of 2/,
    );
    refused(uses!.offset, -1, /found -1 at place 0/);
    refused(uses!.offset, 129, /0 to 128 uses .*found 129.*nothing was sent.*larger coordBound/, 8 * 16);
    refused(owners!.offset, 1.5, /counts of head\.owners .*0 to 1 shares .*found 1\.5/, 8 * 16);
    const most = new Float32Array(exchange.uploaded.dim);
    most[uses!.offset] = 2 ** 20;
    most[owners!.offset] = 1;
    checkCounts(most, countRanges(exchange));
  });

  it('[UPL-8] what is weighed names counts that exist and fit', () => {
    const weighed = (more: Partial<TensorSpecification>) =>
      exchangeWith([
        tensor('uses', [2], { aggregationClass: 'count' }),
        tensor('x', [3, 2], { aggregationClass: 'count-weighted', ...more }),
      ]);
    assert.throws(() => weighed({ countName: 'others' }), /no tensor of class count/);
    assert.throws(() => weighed({ countName: 'uses' }), /cannot be weighed by the 2 counts/);
    assert.throws(() => weighed({ countName: 'uses', countIndex: 2 }), /cannot be weighed/);
    assert.equal(weighed({ countName: 'uses', countAxis: 'last' }).stepDim, 6);
  });

  it('[UPL-9] weights that sites give themselves multiply what they send, and nobody else has to know them', async () => {
    const exchange = exchangeWith([tensor('a', [2]), tensor('head.bias', [2])], {
      weighting: 'quality',
      head: 'by-label',
    });
    assert.deepEqual(
      exchange.uploaded.tensors.map(({ name }) => name),
      ['a', 'head.bias', ownersName, siteWeightName],
    );
    const sites = [
      { weight: 1, delta: [3, 6, 3, 6], siteWeight: 0.5, counts: { [ownersName]: [1, 1] } },
      { weight: 3, delta: [9, 9, 9, 9], siteWeight: 0.5, counts: { [ownersName]: [0, 1] } },
      { weight: 2, delta: [9, 9, 9, 9], siteWeight: 0, counts: { [ownersName]: [1, 1] } },
    ];
    assert.deepEqual(await round(exchange, [1, 1, 1, 1], sites), [8.5, 9.25, 4, 9.25]);
    const worthless = sites.map((site) => ({ ...site, siteWeight: 0 }));
    assert.deepEqual(await round(exchange, [1, 1, 1, 1], worthless), [1, 1, 1, 1]);
    const [first] = sites;
    assert.deepEqual(await round(exchange, [0, 0, 0, 0], [first!, first!]), [3, 6, 3, 6]);
  });

  it('[UPL-10] weights that sites give themselves weigh what they counted, too', async () => {
    const experts = [
      tensor('expert', [1], { aggregationClass: 'count-weighted', countName: 'uses', countIndex: 0 }),
      tensor('uses', [1], { aggregationClass: 'count' }),
      tensor('a', [1]),
    ];
    const exchange = exchangeWith(experts, { weighting: 'given' });
    const sites = [
      { weight: 1, delta: [6, 0, 6], siteWeight: 1, counts: { uses: [2] } },
      { weight: 1, delta: [9, 0, 9], siteWeight: 0.5, counts: { uses: [4] } },
      { weight: 1, delta: [99, 0, 99], siteWeight: 0, counts: { uses: [8] } },
    ];
    // (1 * 2 * 6 + 0.5 * 4 * 9) / (2 + 2); uses (2 + 0.5 * 4) / 1.5; (6 + 4.5) / 1.5.
    assert.deepEqual(await round(exchange, [0, 0, 0], sites), [7.5, Math.fround(8 / 3), 7]);
  });
});
