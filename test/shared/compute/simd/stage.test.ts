import { strict as assert } from 'node:assert';
import { overStagedRows } from '../../../../shared/compute/simd/stage.ts';

/** Calls the gradient of the root-mean-square norm with a slope of nothing but the upstream: gain 1, x 0, inverse 1. */
function passThrough(rowCount: number, size: number): { readonly isDone: boolean; readonly result: Float32Array } {
  const upstream = Float32Array.from({ length: rowCount * size }, (_, index) => index);
  const result = new Float32Array(rowCount * size);
  const ones = new Float32Array(rowCount).fill(1);
  const isDone = overStagedRows(
    {
      rowCount,
      size,
      shared: [new Float32Array(size).fill(1)],
      inputs: [
        { values: new Float32Array(rowCount * size), size },
        { values: upstream, size },
        { values: ones, size: 1 },
      ],
      outputs: [{ values: result, size, over: 1 }],
    },
    (kernels, [gain, x, up, inverses, out], rows) =>
      kernels['rms norm gradient'](x!, gain!, up!, inverses!, out!, rows, 4 * size),
  );
  return { isDone, result };
}

describe('rows in a small memory', () => {
  it('[STG-1] come back in their places, however often the memory is filled', () => {
    const { isDone, result } = passThrough(700, 256);
    assert.ok(isDone);
    assert.ok(result.every((value, index) => value === index));
  });

  it('[STG-2] are refused, untouched, where they do not fit or have no whole vectors', () => {
    for (const size of [6, 40_000]) {
      const { isDone, result } = passThrough(2, size);
      assert.equal(isDone, false);
      assert.ok(result.every((value) => value === 0));
    }
  });
});
