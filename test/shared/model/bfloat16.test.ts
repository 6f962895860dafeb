import { strict as assert } from 'node:assert';
import { tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import type { LoadSettings } from '../../../shared/model/load.ts';
import { networkFrom } from '../../../shared/model/load.ts';
import { bfloat16Of } from '../../helpers/half-checkpoint.ts';
import { batchOf } from '../../parity/fixture-files.ts';
import { requireNative } from '../compute/native/available.ts';
import { fixtureExpected, fixtureFamilies, fixtureFiles } from './fixtures.ts';

for (const backend of ['cpu', 'wasm', 'native'] as const) {
  describe(`a base in BF16 on ${backend}`, () => {
    before(async function () {
      if (backend === 'native') requireNative(this);
      await useBackend(backend);
    });

    for (const family of fixtureFamilies) {
      it(`[BFB-1:${family}] gives what its numbers in float32 give, widened or left as they are`, () => {
        const files = fixtureFiles(family);
        const { stored, widened } = bfloat16Of(files.get('model.safetensors')!);
        const batch = batchOf(fixtureExpected(family));
        const scores = (bytes: Uint8Array, settings: LoadSettings): Float32Array => {
          const model = networkFrom(new Map([...files, ['model.safetensors', bytes]]), settings);
          const values = tidy(() => model.languageModelScores(model.encode(batch)).dataSync() as Float32Array);
          model.dispose();
          return values;
        };
        const right = scores(widened, { frozenWeights: 'float32' });
        assert.ok(right.some((value) => Math.abs(value) > 0.1));
        assert.deepEqual(scores(stored, { frozenWeights: 'float32' }), right);
        const kept = scores(stored, { frozenWeights: 'file' });
        for (const [index, value] of kept.entries())
          assert.ok(Math.abs(value - right[index]!) < 1e-5, `score ${index} is ${value}, expected ${right[index]}`);
        const original = scores(files.get('model.safetensors')!, { frozenWeights: 'float32' });
        assert.ok(
          original.some((value, index) => Math.abs(value - right[index]!) > 1e-4),
          'cutting changes something',
        );
      });
    }
  });
}
