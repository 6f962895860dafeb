import { strict as assert } from 'node:assert';
import { float32Of } from '../../../shared/core/bytes.ts';
import { exchangeOf } from '../../../shared/update/exchange.ts';
import { federatedLayout, ownersName, plainExchange } from '../../../shared/update/federated-layout.ts';
import { layoutOf } from '../../../shared/update/layout.ts';
import { joinClient } from '../fake-client.ts';
import { closeWorlds, settled, startWorld, testPlan, until } from '../harness.ts';

const settings = { ...plainExchange, head: 'by-label' } as const;
const layout = federatedLayout(
  layoutOf([{ name: 'head.bias', shape: [2], aggregationClass: 'mean', decays: false }]),
  settings,
);
const exchange = exchangeOf(settings, layout);
/** Deltas times owners, then the owners. */
const upload = (...values: readonly number[]): Float32Array => Float32Array.from(values);

describe('counts in updates', () => {
  afterEach(closeWorlds);

  it('[CNT-1] below 0, above their bound or not finite are refused, and the honest ones make the version', async () => {
    assert.deepEqual(
      exchange.uploaded.tensors.map(({ name, size }) => [name, size]),
      [
        ['head.bias', 2],
        [ownersName, 2],
      ],
    );
    const world = await startWorld({
      plan: testPlan({
        rounds: { count: 1, cohortSize: 3, quorum: 2 },
        aggregation: { head: 'by-label' },
        evaluation: { everyRounds: 0 },
      }),
      layout,
      initialAdapter: new Float32Array(2),
    });
    const [honest, other, hostile] = [
      await joinClient(world, 1),
      await joinClient(world, 2),
      await joinClient(world, 3),
    ];
    await settled();
    for (const client of [honest, other, hostile]) await client.accept();
    for (const [values, code] of [
      [upload(1, 1, -1, 1), 'bad-weight'],
      [upload(1, 1, 1, 1e6), 'bad-weight'],
      [upload(1, 1, 1, Number.POSITIVE_INFINITY), 'non-finite'],
      [upload(1, 1, 1), 'wrong-length'],
    ] as const) {
      const answer = await hostile.upload(values);
      assert.ok(!answer.ok);
      assert.equal(answer.error.code, code);
      if (code !== 'wrong-length')
        assert.match(
          answer.error.detail,
          code === 'bad-weight' ? /counts of head\.owners from 0 to 1/ : /not a finite/,
        );
    }
    assert.ok((await honest.upload(upload(4, 0, 1, 0), 10)).ok);
    assert.ok((await other.upload(upload(2, 6, 1, 1), 30)).ok);
    const body = { roundHash: hostile.offer().roundHash, code: 'training-failed', reason: '' };
    await hostile.call('decline', hostile.seal('decline', body));
    await until(() => world.events.some(({ type }) => type === 'published'), 'the version');
    const versions = await world.coordinator.library();
    const { row, record } = versions.at(-1)!;
    assert.deepEqual([...float32Of(await world.coordinator.adapter(row))], [2.5, 6]);
    assert.equal(record.contributors.length, 2);
    assert.ok(record.rejections.some(({ code, count }) => code === 'bad-weight' && count === 2));
  });
});
