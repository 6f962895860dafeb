/** Matrices outside any back end, for files. */

/** Side of the squares in which a matrix is transposed, in values: reads and writes both stay in the cache. */
const tileSize = 32;

/** The transpose of a row-major matrix with `rowCount` rows. */
export function transpose(values: Float32Array, rowCount: number): Float32Array {
  const columnCount = values.length / rowCount;
  const result = new Float32Array(values.length);
  for (let rowStart = 0; rowStart < rowCount; rowStart += tileSize) {
    const rowEnd = Math.min(rowStart + tileSize, rowCount);
    for (let columnStart = 0; columnStart < columnCount; columnStart += tileSize) {
      const columnEnd = Math.min(columnStart + tileSize, columnCount);
      for (let row = rowStart; row < rowEnd; row++) {
        for (let column = columnStart; column < columnEnd; column++)
          result[column * rowCount + row] = values[row * columnCount + column]!;
      }
    }
  }
  return result;
}
