import { strict as assert } from 'node:assert';
import { rejectedGroups, suspects } from '../../../../coordinator/aggregation/robust/groups.ts';
import { robustRuleOf } from '../../../../coordinator/aggregation/robust/robust-rules.ts';
import type { RobustContext } from '../../../../coordinator/aggregation/robust/rule.ts';
import { blockSize, heldVectors, storedVectors } from '../../../../coordinator/aggregation/robust/vectors.ts';
import { createMemoryBlobs } from '../../../../coordinator/store/blob-memory.ts';
import { bytesOf } from '../../../../shared/core/bytes.ts';
import type { ClientId, Digest } from '../../../../shared/core/ids.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { RobustSettings } from '../../../../shared/plan/robustness.ts';
import { type RobustRuleName, robustDeclarationOf, robustRuleNames } from '../../../../shared/update/robust-rules.ts';

const context: RobustContext = { roundHash: 'ab'.repeat(32) as Digest, root: null, removedCount: 0 };

async function answer(
  settings: Partial<RobustSettings> & { readonly robust: RobustRuleName },
  values: readonly (readonly number[])[],
  given: Partial<RobustContext> = {},
): Promise<number[]> {
  const rule = robustRuleOf({ hostileMax: 1, bucketSize: 1, ...settings });
  assert.ok(rule !== null);
  const dim = values[0]!.length;
  return [...(await rule.update(rule.init(dim), heldVectors(values), { ...context, ...given }))];
}

const near = (found: readonly number[], expected: readonly number[], tolerance = 1e-9): void => {
  assert.equal(found.length, expected.length);
  for (const [index, value] of expected.entries())
    assert.ok(Math.abs(found[index]! - value) <= tolerance, `${found.join(', ')} is not ${expected.join(', ')}`);
};

describe('robust rules', () => {
  const five = [
    [1, 10],
    [2, 20],
    [3, 30],
    [4, 40],
    [1000, -1000],
  ];

  it('[ROB-1] median and trimmed mean, coordinate by coordinate', async () => {
    near(await answer({ robust: 'median' }, five), [3, 20]);
    near(await answer({ robust: 'median' }, five.slice(0, 4)), [2.5, 25]);
    near(await answer({ robust: 'trimmed-mean' }, five), [3, 20]);
    near(await answer({ robust: 'trimmed-mean', hostileMax: 2 }, five), [3, 20]);
  });

  it('[ROB-2] Krum takes the update with the nearest neighbours, Multi-Krum the mean of several', async () => {
    // n = 6, f = 1: three neighbours, three kept.
    const line = [[0], [1], [2], [3], [4.5], [100]];
    near(await answer({ robust: 'krum' }, line), [1]);
    near(await answer({ robust: 'multi-krum' }, line), [2]);
  });

  it('[ROB-3] Bulyan: repeated Krum, then the values around the median', async () => {
    // n = 7, f = 1: five chosen, of them the three nearest to their median.
    near(await answer({ robust: 'bulyan' }, [[0], [1], [2], [3], [4], [100], [-90]]), [2]);
  });

  it('[ROB-4] the geometric median minimises the sum of distances', async () => {
    const found = await answer({ robust: 'geometric-median' }, [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
      [500, 500],
    ]);
    const costOf = ([x, y]: readonly number[]): number =>
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
        [500, 500],
      ].reduce((sum, [a, b]) => sum + Math.hypot(x! - a!, y! - b!), 0);
    for (const [dx, dy] of [
      [0.2, 0],
      [-0.2, 0],
      [0, 0.2],
      [0, -0.2],
    ] as const)
      assert.ok(costOf(found) < costOf([found[0]! + dx, found[1]! + dy]));
  });

  it('[ROB-5] centred clipping follows its formula and goes on from its last step', async () => {
    const rule = robustRuleOf({ robust: 'centred-clip', hostileMax: 1, bucketSize: 1, robustNorm: 1 });
    assert.ok(rule !== null);
    const values = Array.from({ length: 10 }, (_, index) => [index === 9 ? 1000 : 0.1 * index, 1]);
    const state = rule.init(2);
    let expected = [0, 0];
    for (let round = 0; round < 2; round++) {
      for (let step = 0; step < 3; step++) {
        const moves = values.map((value) => {
          const difference = value.map((one, index) => one - expected[index]!);
          const share = Math.min(1, 1 / Math.hypot(...difference));
          return difference.map((one) => one * share);
        });
        expected = expected.map((one, index) => one + moves.reduce((sum, move) => sum + move[index]!, 0) / 10);
      }
      near([...(await rule.update(state, heldVectors(values), context))], expected);
      near([...state[0]!], expected);
    }
  });

  it('[ROB-6] FLTrust counts updates as far as they point where the root points, at its length', async () => {
    const root = Float64Array.of(2, 0);
    near(
      await answer(
        { robust: 'fltrust' },
        [
          [10, 0],
          [0, 5],
          [-7, 0],
          [3, 3],
        ],
        { root },
      ),
      [
        (2 + (Math.SQRT1_2 * 2) / Math.SQRT2) / (1 + Math.SQRT1_2),
        (Math.SQRT1_2 * 2) / Math.SQRT2 / (1 + Math.SQRT1_2),
      ],
    );
    await assert.rejects(answer({ robust: 'fltrust' }, [[-1, 0]], { root }), { code: 'no-trusted-update' });
    await assert.rejects(answer({ robust: 'fltrust' }, [[-1, 0]]), { code: 'no-root' });
  });

  it('[ROB-7] a norm and buckets stand before any rule', async () => {
    near(
      await answer({ robust: 'norm-clip', robustNorm: 1 }, [
        [3, 4],
        [0.5, 0],
      ]),
      [(0.6 + 0.5) / 2, 0.4],
    );
    const same = Array.from({ length: 9 }, () => [2, -1]);
    near(await answer({ robust: 'median', bucketSize: 3, robustNorm: 100 }, same), [2, -1]);
    // Nine updates, one hostile: one of three buckets is.
    const found = await answer({ robust: 'median', bucketSize: 3 }, [...same.slice(1), [1e6, 1e6]]);
    near(found, [2, -1]);
  });

  for (const robust of robustRuleNames) {
    if (robust === 'none') continue;
    it(`[ROB-8/${robust}] attack-suite: ${robust}: no answer below its condition, none for numbers that are none, and the same in any order`, async () => {
      const least = robustDeclarationOf(robust).countMin(1);
      const random = seededRandom(8, robust);
      const values = Array.from({ length: Math.max(least, 2) }, () => [
        random.normal(),
        random.normal(),
        random.normal(),
      ]);
      const given = { root: Float64Array.of(1, 1, 1) };
      const settings = { robust, ...(robust === 'norm-clip' ? { robustNorm: 1 } : {}) };
      const blobs = createMemoryBlobs();
      const updates = await Promise.all(
        values.map(async (value, index) => ({
          clientId: String(index).padStart(64, '0') as ClientId,
          delta: await blobs.put(bytesOf(Float32Array.from(value))),
        })),
      );
      const rule = robustRuleOf({ hostileMax: 1, bucketSize: 1, ...settings })!;
      const inOrder = (arrived: typeof updates) =>
        rule.update(rule.init(3), storedVectors(arrived, 3, blobs), { ...context, ...given });
      assert.deepEqual(await inOrder([...updates].reverse()), await inOrder(updates));
      if (least > 1)
        await assert.rejects(answer(settings, values.slice(0, least - 1), given), { code: 'too-few-updates' });
      for (const poison of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const poisoned = [...values.slice(1), [1, poison, 1]];
        await assert.rejects(answer(settings, poisoned, given), { code: 'update-not-finite' });
      }
    });
  }

  it('[ROB-9] stored updates are read block by block, in client-id order', async () => {
    const blobs = createMemoryBlobs();
    const dim = 2 * blockSize + 3;
    const updates = await Promise.all(
      [3, 1, 2].map(async (number) => ({
        clientId: String(number).repeat(64) as ClientId,
        delta: await blobs.put(bytesOf(new Float32Array(dim).fill(number))),
      })),
    );
    let largest = 0;
    const read: typeof blobs.read = (digest, offset, length) => {
      largest = Math.max(largest, length);
      return blobs.read(digest, offset, length);
    };
    const vectors = storedVectors(updates, dim, { read });
    const rule = robustRuleOf({ robust: 'median', hostileMax: 1, bucketSize: 1 });
    const found = await rule!.update([], vectors, context);
    assert.ok(found.length === dim && found.every((value) => value === 2));
    assert.equal(largest, 4 * blockSize);
    assert.deepEqual(
      (await vectors.block(0, 1)).map(([first]) => first),
      [1, 2, 3],
    );
  });
});

describe('groups whose sums alone are seen', () => {
  it('[ROB-10] a group is rejected that is longer than clipped updates can be, or no number', () => {
    assert.deepEqual(
      rejectedGroups(
        [
          [0.6, 0.8],
          [0.7, 0.8],
          [Number.NaN, 0],
          [0, 0],
        ],
        1,
      ),
      [1, 2],
    );
  });

  it('[ROB-11] who is always in rejected groups is found, and nobody who was there by chance', () => {
    const random = seededRandom(11, 'groups');
    const clients = Array.from({ length: 40 }, (_, index) => index);
    const rounds = Array.from({ length: 24 }, () => {
      const order = random.shuffle([...clients]);
      const groups = Array.from({ length: 8 }, (_, group) => order.slice(5 * group, 5 * group + 5));
      const rejected = groups.flatMap((members, group) => (members.includes(7) || members.includes(23) ? [group] : []));
      return { groups, rejected };
    });
    assert.deepEqual(
      suspects(rounds).sort((left, right) => left - right),
      [7, 23],
    );
    assert.deepEqual(suspects(rounds.slice(0, 2)), []);
    assert.deepEqual(suspects(rounds.map(({ groups }) => ({ groups, rejected: [] }))), []);
  });
});
