/** Program of a thread that computes large native products, one in a turn, until it is asked to end. */
import { matMul, type Tensor2D, tensor } from '@tensorflow/tfjs-core';
import { useBackend } from '../../../shared/compute/backend.ts';
import { serveThread } from '../../../shared/core/thread.node.ts';

serveThread<never, number>(async (size: number, { post, signal }) => {
  await useBackend('native');
  const values = tensor(new Float32Array(size * size).fill(1), [size, size]) as Tensor2D;
  const compute = async (): Promise<void> => {
    for (let turn = 0; !signal.aborted; turn++) {
      matMul(values, values).dispose();
      post(turn);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  post(-1);
  return compute;
});
