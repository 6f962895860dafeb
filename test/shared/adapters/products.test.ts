import { strict as assert } from 'node:assert';
import {
  getKernel,
  grads,
  registerKernel,
  sum,
  type Tensor,
  type Tensor3D,
  tidy,
  unregisterKernel,
} from '@tensorflow/tfjs-core';
import { type BoundAdapter, parseAdapter } from '../../../shared/adapters/registry.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { seededRandom } from '../../../shared/core/random.ts';
import { bertLike, unusedMap } from './bases.ts';
import { evaluating, randomMatrix, randomTensors } from './checks.ts';

/** Runs `compute` on WebAssembly and counts its matrix products: all, and those with a transposed operand. */
function countProducts(compute: () => void): { readonly all: number; readonly transposed: number } {
  const counts = { all: 0, transposed: 0 };
  const names = ['BatchMatMul', '_FusedMatMul'];
  const kernels = names.map((name) => getKernel(name, 'wasm'));
  for (const kernel of kernels) {
    unregisterKernel(kernel.kernelName, kernel.backendName);
    registerKernel({
      ...kernel,
      kernelFunc: (call) => {
        counts.all += 1;
        if (call.attrs?.transposeA === true || call.attrs?.transposeB === true) counts.transposed += 1;
        return kernel.kernelFunc(call);
      },
    });
  }
  try {
    tidy(compute);
  } finally {
    for (const kernel of kernels) {
      unregisterKernel(kernel.kernelName, kernel.backendName);
      registerKernel(kernel);
    }
  }
  return counts;
}

describe('adapters on WebAssembly', () => {
  before(() => useBackend('wasm'));

  const base = bertLike(1, 8, 16);
  const random = seededRandom(6);

  /** The gradient of the sum of everything that the adapter's hooks return, in all parameters. */
  function backward(adapter: BoundAdapter, apply: (hooks: ReturnType<BoundAdapter['hooks']>) => Tensor): void {
    const parameters = randomTensors(adapter);
    const names = [...parameters.keys()];
    grads((...tensors: Tensor[]) => {
      const named = new Map(names.map((name, index) => [name, tensors[index]!]));
      return sum(apply(adapter.hooks(evaluating(named)))).asScalar();
    })([...parameters.values()]);
  }

  it('[WAS-1] no product has a transposed operand, forward or backward', () => {
    const states = (): Tensor3D => randomMatrix(6, 8, random).reshape([2, 3, 8]);
    const bottleneck = countProducts(() =>
      backward(
        parseAdapter({ method: 'bottleneck', size: 3 }, base),
        (hooks) => hooks.sublayer!({ layerIndex: 0, sublayer: 'feedForward' }, states(), states(), undefined)!,
      ),
    );
    const lora = countProducts(() =>
      backward(
        parseAdapter({ method: 'lora', rank: 2, targets: ['up'] }, base),
        (hooks) =>
          hooks.linear!(
            { layerIndex: 0, target: 'up' },
            randomMatrix(6, 8, random),
            randomMatrix(6, 16, random),
            unusedMap,
          )!,
      ),
    );
    // Two products forward, and two for the gradients of each; the bottleneck has two biases, whose gradients are products too.
    assert.deepEqual(bottleneck, { all: 8, transposed: 0 });
    assert.deepEqual(lora, { all: 6, transposed: 0 });
  });
});
