import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import type * as RingModule from '../../../shared/secure-aggregation/ring.ts';
import { loadModule } from '../../simulation/mutants.ts';
import { said } from './said.ts';

describe('masked rounds on other machines', () => {
  it('[no-webcrypto] without any cryptography of the engine the same bytes are said and the same sum is opened', function () {
    this.timeout(60_000);
    const script = join(import.meta.dirname, 'portable-process.ts');
    const found = execFileSync(process.execPath, [script], { encoding: 'utf8' });
    assert.equal(found, said());
  });

  it('[endianness guard] a machine whose words begin with their highest byte is refused before it masks anything', async () => {
    const path = 'shared/secure-aggregation/ring.ts';
    const other = await loadModule<typeof RingModule>('big-endian', path);
    assert.throws(() => other.vectorOf(32, new Uint8Array(8)), /little-endian/);
    const own: typeof RingModule = await import(`../../../${path}`);
    assert.deepEqual([...own.vectorOf(32, Uint8Array.of(1, 2, 0, 0))], [0x0201]);
  });
});
