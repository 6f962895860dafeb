/** How fast a back end is, in one number that can be compared. */
import { matMul, randomUniform, slice, type Tensor2D, tidy } from '@tensorflow/tfjs-core';

/** Sizes of square matrices, from one that the slowest back end multiplies at once to one that fills a graphics card. */
const sizes = [128, 256, 512, 1024, 2048] as const;

/** Once a product takes this long, its time says enough. */
const enoughMs = 20;

const repeats = 3;

/**
 * Billions of operations per second (GFLOP/s) that the current back end does in a product of two float32 matrices: the best of a few, at a size
 * that keeps it busy. Takes less than a second on a quiet machine.
 */
export async function measureSpeed(nowMs: () => number): Promise<number> {
  let best = 0;
  for (const size of sizes) {
    const ms = await multiply(size, nowMs);
    best = Math.max(best, (2 * size ** 3) / ms / 1e6);
    if (ms > enoughMs) break;
  }
  return best;
}

/** Milliseconds of the fastest product of two matrices of `size`, until its values are there. */
async function multiply(size: number, nowMs: () => number): Promise<number> {
  const [a, b] = [randomUniform([size, size], -1, 1, 'float32', 1), randomUniform([size, size], -1, 1, 'float32', 2)];
  let fastestMs = Number.POSITIVE_INFINITY;
  try {
    for (let repeat = 0; repeat <= repeats; repeat++) {
      const startMs = nowMs();
      // One value of the product waits for all of it, and costs no copy of it.
      const corner = tidy(() => slice(matMul(a, b) as Tensor2D, [0, 0], [1, 1]));
      await corner.data();
      corner.dispose();
      // The first also uploads the matrices and compiles.
      if (repeat > 0) fastestMs = Math.min(fastestMs, nowMs() - startMs);
    }
  } finally {
    a.dispose();
    b.dispose();
  }
  return fastestMs;
}
