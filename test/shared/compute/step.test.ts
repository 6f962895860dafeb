import { strict as assert } from 'node:assert';
import {
  getKernelsForBackend,
  type KernelConfig,
  memory,
  registerKernel,
  unregisterKernel,
} from '@tensorflow/tfjs-core';
import { parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { batchedProductKernel } from '../../../shared/compute/wasm-kernels.ts';
import { packedProductKernel } from '../../../shared/compute/wasm-vectors.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { memorySource } from '../../../shared/data/example-source.ts';
import { defaultTraining } from '../../../shared/training/configuration.ts';
import { createTaskModel } from '../../../shared/training/task-model.ts';
import { trainLocally } from '../../../shared/training/train.ts';
import { fixtureBase, fixtureFamilies } from '../model/fixtures.ts';

const adapters = [
  { method: 'bottleneck', size: 4 },
  { method: 'bottleneck', size: 4, placement: 'houlsby' },
  { method: 'lora', targets: 'all-linear', rank: 2 },
  { method: 'none' },
] as const;

/** Runs `steps` training steps of a small classifier. */
async function train(family: string, adapter: (typeof adapters)[number], steps: number): Promise<Float32Array> {
  const base = fixtureBase(family);
  const random = seededRandom(5, 'step');
  const examples = Array.from({ length: 6 }, (_, index) => ({
    ids: Int32Array.from({ length: 4 + index }, () => random.integer(120)),
    targets: Int32Array.of(index % 3),
  }));
  const model = createTaskModel({
    base,
    adapter: parseAdapter(adapter, base.description),
    task: { kind: 'classification', labels: ['a', 'b', 'c'], pooling: 'mean', lengthMax: 16 },
  });
  const configuration = { ...defaultTraining, localEpochs: undefined, localSteps: steps, batchSize: 6 };
  const { parameters } = await trainLocally({
    model,
    start: model.initialise(1),
    source: memorySource(examples),
    configuration,
    seed: 2,
  });
  base.dispose();
  return parameters;
}

describe('a training step on WebAssembly', () => {
  const originals: KernelConfig[] = [];
  let products: { readonly kernel: string; readonly transposed: boolean }[] = [];

  before(async () => {
    await useBackend('wasm');
    for (const kernel of getKernelsForBackend('wasm')) {
      if (!['BatchMatMul', '_FusedMatMul', batchedProductKernel, packedProductKernel].includes(kernel.kernelName))
        continue;
      originals.push(kernel);
      unregisterKernel(kernel.kernelName, 'wasm');
      registerKernel({
        ...kernel,
        kernelFunc: (call) => {
          const transposed = call.attrs?.transposeA === true || call.attrs?.transposeB === true;
          products.push({ kernel: kernel.kernelName, transposed });
          return kernel.kernelFunc(call);
        },
      });
    }
  });
  beforeEach(() => {
    products = [];
  });
  after(() => {
    for (const kernel of originals) {
      unregisterKernel(kernel.kernelName, 'wasm');
      registerKernel(kernel);
    }
  });

  for (const family of fixtureFamilies) {
    for (const adapter of adapters) {
      it(`[STP-1] issues no product with a transposed operand: ${family}, ${Object.values(adapter).join(' ')}`, async () => {
        await train(family, adapter, 2);
        assert.ok(products.length > 20, `only ${products.length} products were seen`);
        for (const own of [batchedProductKernel, packedProductKernel])
          assert.ok(
            products.some(({ kernel }) => kernel === own),
            own,
          );
        assert.deepEqual(
          products.filter(({ transposed }) => transposed),
          [],
        );
      });
    }
  }

  it('[STP-2] gives what the plain back end gives', async () => {
    for (const family of fixtureFamilies) {
      const onWasm = await train(family, adapters[0], 3);
      await useBackend('cpu');
      const onCpu = await train(family, adapters[0], 3);
      await useBackend('wasm');
      const error = Math.max(...onWasm.map((value, index) => Math.abs(value - onCpu[index]!)));
      assert.ok(error < 1e-4, `${family}: parameters differ by ${error}`);
    }
  });

  it('[STP-3] keeps the number of tensors and the memory of the back end', async () => {
    await train('bert', adapters[0], 2);
    const before = memory();
    await train('bert', adapters[0], 30);
    const after = memory();
    assert.equal(after.numTensors, before.numTensors);
    assert.equal(after.numBytes, before.numBytes);
  });
});
