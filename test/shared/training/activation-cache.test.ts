import { strict as assert } from 'node:assert';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { convertFloat16 } from '../../../shared/compute/half-floats.ts';
import { roundToFloat16 } from '../../../shared/core/float16.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import type { Task } from '../../../shared/plan/task.ts';
import { type ActivationCache, createActivationCache } from '../../../shared/training/activation-cache.ts';
import { openActivationSpill } from '../../../shared/training/activation-spill.node.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { evaluate } from '../../../shared/training/evaluate.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fixtureBase, largestError } from '../model/fixtures.ts';

const task: Task = { kind: 'classification', labels: ['a', 'b'], pooling: 'mean', lengthMax: 8 };

function sourceOf(lengthOf: (index: number) => number, count = 12) {
  const random = seededRandom(3, 'texts');
  return memorySource(
    Array.from({ length: count }, (_, index) => ({
      ids: Int32Array.from({ length: lengthOf(index) }, () => random.integer(50)),
      targets: Int32Array.of(index % 2),
    })),
  );
}

async function trained(family: string, activations: ActivationCache | undefined, lengthOf: (index: number) => number) {
  const base = fixtureBase(family);
  const top = base.description.layerCount - 1;
  const adapter = parseAdapter({ method: 'lora', rank: 2, layers: [top] }, base.description);
  const model = createTaskModel({ base, adapter, task, ...(activations && { activations }) });
  const source = sourceOf(lengthOf);
  const configuration = { ...defaultTraining, localEpochs: 3, batchSize: 4, learningRate: 0.05 };
  const { delta } = await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
  const metrics = await evaluate({ model, parameters: delta, source });
  base.dispose();
  return { delta, metrics };
}

function spillFolders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('tributary-states-'));
}

describe('states below the lowest adapter', () => {
  for (const [backend, lengthOf] of [
    ['cpu', (index: number) => 3 + (index % 6)],
    ['wasm', () => 8],
  ] as const) {
    for (const family of ['bert', 'gpt2', 'qwen3'])
      it(`[ACT-1] change no byte of an update when they are kept: ${family} on ${backend}`, async () => {
        await useBackend(backend);
        const cache = createActivationCache();
        const plain = await trained(family, undefined, lengthOf);
        const kept = await trained(family, cache, lengthOf);
        assert.ok(plain.delta.some((value) => value !== 0));
        assert.equal(cache.count, 12);
        assert.deepEqual(kept, plain);
        // A second model on the same base finds them; a budget that has room for some, or none, changes nothing either.
        assert.deepEqual(await trained(family, cache, lengthOf), plain);
        const small = createActivationCache({ bytesMax: Math.ceil(cache.bytes / 2) });
        assert.deepEqual(await trained(family, small, lengthOf), plain);
        assert.ok(small.isFull && small.count > 0 && small.count < 12, `${small.count} texts`);
        assert.deepEqual(await trained(family, createActivationCache({ bytesMax: 0 }), lengthOf), plain);
      });
  }

  it('[ACT-7] change no byte when some or all of them lie on disk, in float32; nothing of them stays there', async () => {
    await useBackend('cpu');
    const lengthOf = () => 8;
    const plain = await trained('bert', undefined, lengthOf);
    const whole = createActivationCache();
    await trained('bert', whole, lengthOf);
    const foldersBefore = spillFolders();
    for (const bytesMax of [0, Math.ceil(whole.bytes / 2)]) {
      const cache = createActivationCache({ bytesMax, spillBytesMax: whole.bytes, openSpill: openActivationSpill });
      assert.deepEqual(await trained('bert', cache, lengthOf), plain);
      assert.deepEqual([cache.count, cache.bytes, cache.isFull], [12, whole.bytes, false]);
      assert.equal(cache.spilledBytes === whole.bytes, bytesMax === 0);
      assert.ok(cache.spilledBytes > 0);
      // Again from what was kept.
      assert.deepEqual(await trained('bert', cache, lengthOf), plain);
      cache.dispose();
      assert.deepEqual([cache.count, cache.isFull], [0, true]);
    }
    const half = createActivationCache({
      bytesMax: 0,
      spillBytesMax: whole.bytes,
      openSpill: openActivationSpill,
      precision: 'float16',
    });
    const rounded = await trained('bert', half, lengthOf);
    assert.ok(largestError(rounded.delta, plain.delta) < 0.02);
    assert.equal(2 * half.spilledBytes, whole.bytes);
    half.dispose();
    assert.deepEqual(spillFolders(), foldersBefore);
  });

  it('[ACT-8] stop where the disk is full, and need no disk without one', async () => {
    const values = (value: number) => new Float32Array(4).fill(value);
    const cache = createActivationCache({ bytesMax: 0, spillBytesMax: 40, openSpill: openActivationSpill });
    for (const key of ['a', 'b', 'c']) cache.put(key, values(key.charCodeAt(0)));
    assert.deepEqual([cache.count, cache.isFull], [2, true]);
    assert.deepEqual([cache.get('b'), cache.get('c')], [values(98), null]);
    cache.dispose();
    const without = createActivationCache({ bytesMax: 0, spillBytesMax: 40 });
    without.put('a', values(1));
    assert.deepEqual([without.count, without.isFull], [0, true]);
  });

  it('[ACT-2] stand within rounding where texts of several lengths share batches on WebAssembly', async () => {
    await useBackend('wasm');
    const lengthOf = (index: number) => 3 + (index % 6);
    const plain = await trained('bert', undefined, lengthOf);
    const kept = await trained('bert', createActivationCache(), lengthOf);
    assert.ok(largestError(kept.delta, plain.delta) < 1e-4);
  });

  it('[ACT-3] take half the memory in float16, at an error of 2^-11 of a value', async () => {
    await useBackend('cpu');
    const lengthOf = () => 8;
    const [full, half] = [createActivationCache(), createActivationCache({ precision: 'float16' })];
    const exact = await trained('bert', full, lengthOf);
    const rounded = await trained('bert', half, lengthOf);
    assert.equal(half.bytes * 2, full.bytes);
    assert.notDeepEqual(rounded.delta, exact.delta);
    assert.ok(largestError(rounded.delta, exact.delta) < 0.02);
    const random = seededRandom(1, 'halves');
    const values = Float32Array.from({ length: 4000 }, (_, index) => random.normal() * 10 ** ((index % 13) - 9));
    const back = convertFloat16(roundToFloat16(values)!);
    for (const [index, value] of values.entries())
      assert.ok(Math.abs(back[index]! - value) <= Math.max(Math.abs(value) * 2 ** -11, 2 ** -25), `${value}`);
    assert.deepEqual(convertFloat16(roundToFloat16(back)!), back);
    for (const beyond of [65520, -1e6, Number.POSITIVE_INFINITY, Number.NaN])
      assert.equal(roundToFloat16(Float32Array.of(1, beyond)), null);
  });

  it('[ACT-4] are not kept of texts that are masked anew in every pass, or below adapters of the first layer', async () => {
    await useBackend('cpu');
    const base = fixtureBase('bert');
    const cache = createActivationCache();
    const run = async (of: Task, layers: number[]) => {
      const adapter = parseAdapter({ method: 'lora', rank: 2, layers }, base.description);
      const model = createTaskModel({ base, adapter, task: of, tokenizer: { maskId: 1 }, activations: cache });
      const configuration = { ...defaultTraining, localEpochs: 1, batchSize: 4 };
      const source = sourceOf(() => 8);
      await trainLocally({ model, start: model.initialise(1), source, configuration, seed: 1 });
    };
    await run(task, [0]);
    await run({ kind: 'masked', lengthMax: 8, maskFraction: 0.3 }, [base.description.layerCount - 1]);
    assert.equal(cache.count, 0);
    base.dispose();
  });
});
