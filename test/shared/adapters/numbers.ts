/** Plain float64 arithmetic on rows, for references that share nothing with the product's code. */

/** A list of rows. */
export type Rows = readonly (readonly number[])[];

/** Rows of `columnCount` numbers from a flat list. */
export function rowsOf(values: ArrayLike<number>, columnCount: number): number[][] {
  return Array.from({ length: values.length / columnCount }, (_, row) =>
    Array.from({ length: columnCount }, (_unused, column) => values[row * columnCount + column]!),
  );
}

/** Product of `[m, n]` and `[n, p]`. */
export function times(left: Rows, right: Rows): number[][] {
  return left.map((row) =>
    right[0]!.map((_, column) => row.reduce((sum, value, k) => sum + value * right[k]![column]!, 0)),
  );
}

/** Transposed rows. */
export function flipped(rows: Rows): number[][] {
  return rows[0]!.map((_, column) => rows.map((row) => row[column]!));
}

/** Combines rows, numbers or one row for all, value by value. */
function combine(
  left: Rows,
  right: Rows | readonly number[] | number,
  how: (a: number, b: number) => number,
): number[][] {
  return left.map((row, index) =>
    row.map((value, column) => {
      if (typeof right === 'number') return how(value, right);
      const other = right[Array.isArray(right[0]) ? index : column]!;
      return how(value, typeof other === 'number' ? other : (other as readonly number[])[column]!);
    }),
  );
}

/** Sum value by value. */
export function plus(left: Rows, right: Rows | readonly number[] | number): number[][] {
  return combine(left, right, (a, b) => a + b);
}

/** Product value by value. */
export function scaled(left: Rows, right: Rows | readonly number[] | number): number[][] {
  return combine(left, right, (a, b) => a * b);
}

/** Layer norm of each row without gain and bias. */
export function normed(rows: Rows, epsilon: number): number[][] {
  return rows.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value) => (value - mean) / Math.sqrt(variance + epsilon));
  });
}
