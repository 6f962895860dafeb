/** What becomes of `@tensorflow/tfjs-node-gpu` and `@tensorflow/tfjs-node` as users have them: working, broken, without a GPU, wrong. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Backend, BackendName } from '../../../shared/compute/backend.ts';

const root = join(import.meta.dirname, '../../..');
const [gpuPackage, plainPackage] = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

/** The source of a package that computes with the plain back end under the native one's name. */
function workingPackage({
  onGpu = false,
  product = '',
}: {
  readonly onGpu?: boolean;
  readonly product?: string;
} = {}): string {
  return `
    const require = (0, process.getBuiltinModule('node:module').createRequire)(${JSON.stringify(join(root, 'package.json'))});
    const { getKernelsForBackend, registerBackend, registerKernel } = require('@tensorflow/tfjs-core');
    const { MathBackendCPU } = require('@tensorflow/tfjs-backend-cpu');
    const util = require('util');
    class NodeBackend extends MathBackendCPU {
      firstUse = false;
      isUsingGpuDevice = ${onGpu};
      write(values, shape, dtype) {
        if (util.isNullOrUndefined(values) && util.isArray(values)) throw new Error('both');
        return super.write(values, shape, dtype);
      }
    }
    registerBackend('tensorflow', () => new NodeBackend());
    for (const config of getKernelsForBackend('cpu')) {
      const kernelFunc = (call) => {
        const result = config.kernelFunc(call);
        ${product}
        return result;
      };
      registerKernel({ ...config, kernelFunc, backendName: 'tensorflow' });
    }`;
}

const wrongPackage = workingPackage({
  product: "if (config.kernelName === 'BatchMatMul') call.backend.data.get(result.dataId).values[1] += 1;",
});
const brokenPackage = `
  throw new Error('The Node.js native addon module (tfjs_binding.node) can not be found at path: /x.\\nPlease rebuild.');`;
const strangePackage = 'export {};';

describe('native packages of TensorFlow', function () {
  this.timeout(60_000);
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tributary-packages-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  let fileCount = 0;
  /** Asks for `names` in a thread where the packages are these. */
  async function ask(
    packages: Readonly<Record<string, string>>,
    names: readonly (BackendName | 'auto')[],
  ): Promise<readonly (Backend | string)[]> {
    const files = Object.entries(packages).map(([name, source]) => {
      const path = join(folder, `${fileCount++}.mjs`);
      writeFileSync(path, source);
      return [name, path];
    });
    const workerData = [Object.fromEntries(files), names];
    const worker = new Worker(new URL('./fake-package-worker.ts', import.meta.url), { workerData });
    const answer = Promise.withResolvers<readonly (Backend | string)[]>();
    worker.once('message', answer.resolve).once('error', answer.reject);
    try {
      return await answer.promise;
    } finally {
      await worker.terminate();
    }
  }
  const nameOf = (outcome: Backend | string | undefined) => (typeof outcome === 'object' ? outcome.name : outcome);
  const reasonIn = (outcome: Backend | string | undefined, name: BackendName) =>
    typeof outcome === 'object' ? outcome.rejected.find((miss) => miss.name === name)?.reason : undefined;

  it('[NPK-1] a package that works is taken first, with the functions that newer Nodes lack', async () => {
    const [found] = await ask({ [gpuPackage]: workingPackage({ onGpu: true }) }, ['auto']);
    assert.equal(nameOf(found), 'node-gpu');
    assert.deepEqual((found as Backend).rejected, []);
  });

  it('[NPK-2] a broken installation gives its reason and the next best; asked for by name it fails hard', async () => {
    const packages = { [gpuPackage]: brokenPackage, [plainPackage]: workingPackage() };
    const [found, named, again] = await ask(packages, ['auto', 'node-gpu', 'node-gpu']);
    assert.equal(nameOf(found), 'node');
    assert.equal(
      reasonIn(found, 'node-gpu'),
      `${gpuPackage} does not load: The Node.js native addon module (tfjs_binding.node) can not be found at path: /x.`,
    );
    assert.match(
      nameOf(named)!,
      /^the back end node-gpu does not work here: .* does not load: .*; choose another with --backend/,
    );
    assert.equal(again, named);
  });

  it('[NPK-3] a package made for GPUs that finds none is passed by, and the other takes the name that both have', async () => {
    const packages = { [gpuPackage]: workingPackage(), [plainPackage]: workingPackage() };
    const [found, gpu, plain, wasm, again] = await ask(packages, ['auto', 'node-gpu', 'node', 'wasm', 'node']);
    assert.equal(nameOf(found), 'node');
    assert.match(reasonIn(found, 'node-gpu')!, /finds no GPU that it can use/);
    assert.match(nameOf(gpu)!, /finds no GPU that it can use/);
    assert.deepEqual([plain, wasm, again].map(nameOf), ['node', 'wasm', 'node']);
  });

  it('[NPK-4] a package that computes wrong is refused with what came out', async () => {
    const [found] = await ask({ [plainPackage]: wrongPackage }, ['auto']);
    assert.match(reasonIn(found, 'node')!, /^a product came out as \[2, 4, 5, 5\], expected \[2, 3, 5, 5\]$/);
    assert.notEqual(nameOf(found), 'node');
  });

  it('[NPK-5] a package with an engine of its own is told apart from one that works', async () => {
    const [found] = await ask({ [plainPackage]: strangePackage }, ['node']);
    assert.match(nameOf(found)!, /registers no back end here: it brings another copy of @tensorflow\/tfjs-core/);
  });
});
