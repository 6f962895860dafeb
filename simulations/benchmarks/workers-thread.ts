/** A thread that makes a base ready and computes with all of its layers once. */
import { slice, type Tensor3D, tensor2d, tidy } from '@tensorflow/tfjs-core';
import { useBackend } from '../../shared/compute/backend.ts';
import type { BackendName } from '../../shared/compute/backend-names.ts';
import { loadOver, loadShared, type SharedWeights, sharesWeights } from '../../shared/compute/shared-weights.ts';
import { serveThread } from '../../shared/core/thread.node.ts';
import { openBaseFiles } from '../../shared/model/load.node.ts';
import { networkFrom } from '../../shared/model/load.ts';

/** What it is given. */
export interface WorkerTask {
  readonly folder: string;
  readonly backend: BackendName;
  readonly isShared: boolean;
  /** Those of the first thread; null for the first. */
  readonly weights: SharedWeights | null;
}

/** What it answers. */
export interface WorkerReady {
  readonly weights: SharedWeights | null;
  readonly weightBytes: number;
  /** A value of what it computed. */
  readonly sum: number;
}

serveThread<never, WorkerReady>(async ({ folder, backend, isShared, weights }: WorkerTask, { post }) => {
  await useBackend(backend);
  const load = async () => {
    const { files, close } = openBaseFiles(folder);
    try {
      return networkFrom(files);
    } finally {
      close();
    }
  };
  const first = async () => (isShared && sharesWeights() ? loadShared(load) : { base: await load(), weights: null });
  const loaded = weights === null ? await first() : { base: await loadOver(weights, load), weights: null };
  const shape: [number, number] = [1, 16];
  const last = tidy(() => {
    const inputIds = tensor2d(new Int32Array(16).fill(7), shape, 'int32');
    const attentionMask = tensor2d(new Int32Array(16).fill(1), shape, 'int32');
    const states: Tensor3D = loaded.base.encode({ inputIds, attentionMask }, {});
    return slice(states, [0, 0, 0], [1, 1, 1]);
  });
  const [sum] = await last.data();
  last.dispose();
  post({ weights: loaded.weights, weightBytes: 4 * loaded.base.description.parameterCount, sum: sum! });
  return () => undefined;
});
