/** Small dense products outside any back end, for files. */

/** The transpose of a row-major matrix with `rowCount` rows. */
export function transpose(values: Float32Array, rowCount: number): Float32Array {
  const columnCount = values.length / rowCount;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rowCount; row++) {
    for (let column = 0; column < columnCount; column++)
      result[column * rowCount + row] = values[row * columnCount + column]!;
  }
  return result;
}
