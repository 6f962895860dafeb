import { strict as assert } from 'node:assert';
import { seededRandom } from '../../../shared/core/random.ts';
import type { Columns } from '../../../shared/update/linear-algebra.ts';
import {
  combine,
  decompose,
  decomposeThin,
  dot,
  frobeniusNorm,
  leastSquares,
  thinQr,
  transpose,
} from '../../../shared/update/linear-algebra.ts';

const columnsOf = (rows: readonly (readonly number[])[]): Columns =>
  rows[0]!.map((_, column) => Float64Array.from(rows, (row) => row[column]!));
const randomColumns = (seed: number, rows: number, count: number): Columns => {
  const random = seededRandom(seed, 'columns');
  return Array.from({ length: count }, () => Float64Array.from({ length: rows }, () => random.normal()));
};
/** Largest difference of entries. */
const distance = (left: Columns, right: Columns): number =>
  Math.max(
    0,
    ...left.flatMap((column, index) => [...column].map((value, place) => Math.abs(value - right[index]![place]!))),
  );
const product = ({ left, right, values }: { left: Columns; right: Columns; values?: readonly number[] }): Columns =>
  Array.from({ length: right[0]!.length }, (_, place) =>
    combine(
      left,
      left.map((_, index) => (values?.[index] ?? 1) * right[index]![place]!),
      left[0]!.length,
    ),
  );
const assertOrthonormal = (columns: Columns): void => {
  for (const [first, one] of columns.entries())
    for (const [second, other] of columns.entries())
      assert.ok(Math.abs(dot(one, other) - (first === second ? 1 : 0)) < 1e-13, `columns ${first} and ${second}`);
};

describe('linear algebra', () => {
  it('[LAL-1] decomposes [[3, 0], [4, 5]] into √45 and √5 with known vectors', () => {
    const { values, left, right } = decompose(
      columnsOf([
        [3, 0],
        [4, 5],
      ]),
    );
    assert.ok(Math.abs(values[0]! - Math.sqrt(45)) < 1e-14 && Math.abs(values[1]! - Math.sqrt(5)) < 1e-14);
    const tenth = 1 / Math.sqrt(10);
    assert.ok(
      distance(
        left,
        columnsOf([
          [tenth, 3 * tenth],
          [3 * tenth, -tenth],
        ]),
      ) < 1e-14,
      String(left),
    );
    assert.ok(
      distance(
        right,
        columnsOf([
          [Math.SQRT1_2, Math.SQRT1_2],
          [Math.SQRT1_2, -Math.SQRT1_2],
        ]),
      ) < 1e-14,
    );
  });

  it('[LAL-2] a decomposition multiplies out to its matrix, wide and tall, with orthonormal vectors in falling order', () => {
    for (const [rows, count] of [
      [6, 4],
      [4, 6],
      [5, 5],
      [1, 3],
      [3, 1],
    ] as const) {
      const matrix = randomColumns(rows * 10 + count, rows, count);
      const found = decompose(matrix);
      assertOrthonormal(found.left);
      assertOrthonormal(found.right);
      assert.deepEqual(
        [...found.values].sort((a, b) => b - a),
        found.values,
      );
      assert.ok(distance(product(found), matrix) < 1e-13, `${rows} x ${count}`);
    }
  });

  it('[LAL-3] finds singular values over twelve orders of magnitude to full relative accuracy', () => {
    // Diagonal scales of columns are what one-sided rotations are accurate for.
    const scale = (column: number): number => 10 ** (-4 * column);
    const { q } = thinQr(randomColumns(3, 8, 4));
    const matrix = q.map((column, index) => column.map((value) => scale(index) * value));
    for (const [index, value] of decompose(matrix).values.entries())
      assert.ok(Math.abs(value / scale(index) - 1) < 1e-12, `${value}`);
  });

  it('[LAL-4] thin QR: orthonormal columns that multiply out, also for near-dependent, repeated, zero and surplus columns', () => {
    const base = randomColumns(4, 6, 3);
    const near = base[0]!.map((value, index) => value + 1e-9 * base[1]![index]!);
    for (const columns of [
      base,
      [...base, near],
      [base[0]!, base[0]!, base[1]!],
      [new Float64Array(6), base[2]!],
      randomColumns(5, 3, 9),
    ]) {
      const { q, r } = thinQr(columns);
      assertOrthonormal(q);
      assert.ok(q.length <= Math.min(columns.length, columns[0]!.length));
      assert.ok(
        distance(
          r.map((weights) => combine(q, weights, columns[0]!.length)),
          columns,
        ) < 1e-13,
      );
    }
    assert.equal(thinQr([base[0]!, base[0]!, base[1]!]).q.length, 2);
  });

  it('[LAL-5] thin factors decompose as their product does, and have its norm', () => {
    for (const rank of [1, 3, 12]) {
      const factors = { left: randomColumns(6, 8, rank), right: randomColumns(7, 5, rank) };
      const dense = product(factors);
      const [thin, whole] = [decomposeThin(factors), decompose(dense)];
      for (const [index, value] of whole.values.entries())
        if (index < Math.min(rank, 5)) assert.ok(Math.abs(thin.values[index]! - value) < 1e-12, `${value}`);
      assert.ok(distance(product(thin), dense) < 1e-12);
      const norm = Math.sqrt(whole.values.reduce((sum, value) => sum + value * value, 0));
      assert.ok(Math.abs(frobeniusNorm(factors) - norm) < 1e-11 * norm);
    }
  });

  it('[LAL-6] FedEx golden vector: the singular values of M are 11.238091 and 0.133475', () => {
    const { values } = decomposeThin({
      left: columnsOf([
        [0.25, 0.75 * 3],
        [0, 0.75 * -2],
      ]),
      right: columnsOf([
        [1, 0],
        [2, 4],
      ]),
    });
    assert.ok(Math.abs(values[0]! - 11.238091) < 1e-6 && Math.abs(values[1]! - 0.133475) < 1e-6, String(values));
  });

  it('[LAL-7] least squares: the normal equations hold, and a dependent column changes no residual', () => {
    const [matrix, target] = [randomColumns(8, 7, 3), randomColumns(9, 7, 4)];
    const residuals = (columns: Columns): Columns =>
      leastSquares(columns, target).map((solution, index) => {
        const fitted = combine(columns, solution, 7);
        return target[index]!.map((value, place) => value - fitted[place]!);
      });
    for (const rest of residuals(matrix)) for (const column of matrix) assert.ok(Math.abs(dot(rest, column)) < 1e-12);
    assert.ok(distance(residuals([...matrix, matrix[0]!]), residuals(matrix)) < 1e-12);
  });

  it('[LAL-8] zero and empty matrices have no singular values', () => {
    assert.deepEqual(decompose([]).values, []);
    assert.deepEqual(decomposeThin({ left: [], right: [] }).values, []);
    assert.deepEqual(decompose([new Float64Array(3), new Float64Array(3)]).values, []);
    assert.deepEqual(
      transpose(
        columnsOf([
          [1, 2],
          [3, 4],
        ]),
        2,
      ),
      columnsOf([
        [1, 3],
        [2, 4],
      ]),
    );
  });
});
