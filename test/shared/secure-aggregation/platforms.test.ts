import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import type * as BytesModule from '../../../shared/core/bytes.ts';
import type * as SafetensorsModule from '../../../shared/model/safetensors.ts';
import type * as MaskModule from '../../../shared/secure-aggregation/mask.ts';
import type * as RingModule from '../../../shared/secure-aggregation/ring.ts';
import type * as VectorModule from '../../../shared/secure-aggregation/vector-bytes.ts';
import { zeroMaskedVector } from '../../../shared/secure-aggregation/vector-bytes.ts';
import { loadModule } from '../../simulation/mutants.ts';
import { said } from './said.ts';

describe('masked rounds on other machines', () => {
  it('[no-webcrypto] without any cryptography of the engine the same bytes are said and the same sum is opened', function () {
    this.timeout(60_000);
    const script = join(import.meta.dirname, 'portable-process.ts');
    const found = execFileSync(process.execPath, [script], { encoding: 'utf8' });
    assert.equal(found, said());
  });

  it('[endianness guard] a machine whose words begin with their highest byte is refused before it masks, trains or publishes anything', async () => {
    const bytes = Uint8Array.of(1, 2, 0, 0);
    const [masks, paths] = [
      zeroMaskedVector({ ringBits: 32, dim: 4, tail: 1 }),
      ['ring.ts', 'mask.ts', 'vector-bytes.ts'],
    ];
    const seed = { coordinates: new Uint8Array(32), tail: new Uint8Array(32) };
    const load = async <Module>(path: string, mutant: boolean): Promise<Module> =>
      mutant ? loadModule<Module>('big-endian', path) : ((await import(`../../../${path}`)) as Module);
    for (const isOther of [false, true]) {
      const [ring, mask, vectors] = (await Promise.all(
        paths.map((path) => load(`shared/secure-aggregation/${path}`, isOther)),
      )) as [typeof RingModule, typeof MaskModule, typeof VectorModule];
      const core = await load<typeof BytesModule>('shared/core/bytes.ts', isOther);
      const weights = await load<typeof SafetensorsModule>('shared/model/safetensors.ts', isOther);
      for (const read of [
        () => ring.vectorOf(32, bytes),
        () => mask.applyMask(masks, seed, 1, 1),
        () => vectors.vectorAdder(masks)(new Uint8Array(20)),
        () => core.float32Of(bytes),
        () => weights.tensorValues({ dtype: 'F32', shape: [1], bytes }),
        () => weights.tensorValues({ dtype: 'BF16', shape: [2], bytes }),
      ])
        if (isOther) assert.throws(read, { code: 'big-endian-machine', message: /use a little-endian machine/ });
        else read();
    }
    const own: typeof RingModule = await import('../../../shared/secure-aggregation/ring.ts');
    assert.deepEqual([...own.vectorOf(32, bytes)], [0x0201]);
  });
});
