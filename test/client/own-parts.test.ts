import { strict as assert } from 'node:assert';
import { openOwnParts } from '../../client/own-parts.ts';
import { exchangeOf } from '../../shared/update/exchange.ts';
import { plainExchange } from '../../shared/update/federated-layout.ts';
import { layoutOf } from '../../shared/update/layout.ts';
import { memoryPlatform } from './memory-platform.ts';

const exchange = exchangeOf(
  plainExchange,
  layoutOf([
    { name: 'shared', shape: [2], aggregationClass: 'mean', decays: false },
    { name: 'own', shape: [3], aggregationClass: 'local', decays: false },
  ]),
);
const name = 'ab-cd';

describe('own parts of a client', () => {
  it('[OWN-1] are kept as trained, and a restarted client goes on with them', async () => {
    const { personal, personalParts } = memoryPlatform(1);
    const first = await openOwnParts(personal, { exchange, name });
    assert.equal(first.values(), null);
    await first.keep(Float32Array.of(9, 9, 1, 2, 3), Float32Array.of(1, 1, 0.5, 0.5, 0.5));
    assert.deepEqual(first.values(), Float32Array.of(1.5, 2.5, 3.5));
    assert.deepEqual((await openOwnParts(personal, { exchange, name })).values(), first.values());
    assert.equal((await openOwnParts(personal, { exchange, name: 'other' })).values(), null);
    assert.equal(personalParts.get(name)?.length, 12);
  });

  it('[OWN-2] of another size are refused with what to do', async () => {
    const { personal } = memoryPlatform(2);
    await personal.write(name, new Uint8Array(8));
    await assert.rejects(openOwnParts(personal, { exchange, name }), {
      code: 'personal-damaged',
      message: /must hold 3 values .*, found 8 bytes; restore it, or delete it/,
    });
  });

  it('[OWN-3] where a plan leaves nothing with clients nothing is read or written', async () => {
    const { personal, personalParts } = memoryPlatform(3);
    const plain = exchangeOf(
      plainExchange,
      layoutOf([{ name: 'x', shape: [1], aggregationClass: 'mean', decays: false }]),
    );
    const own = await openOwnParts(personal, { exchange: plain, name });
    await own.keep(Float32Array.of(1), Float32Array.of(1));
    assert.equal(own.values(), null);
    assert.equal(personalParts.size, 0);
  });
});
