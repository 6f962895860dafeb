/** The values of tensors as they lie in files, written piece by piece to where they shall be: nothing is held twice. */

import { convertBfloat16, convertFloat16 } from '../compute/half-floats.ts';
import { requireLittleEndian } from '../core/bytes.ts';
import { FormatError } from '../core/errors.ts';
import { forEachPiece } from './byte-source.ts';
import { type StoredTensor, valueBytes } from './safetensors-header.ts';

/** Number of values. */
export function valueCountOf({ shape }: Pick<StoredTensor, 'shape'>): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/**
 * Writes the values of `tensor`, row-major, to `into` `[values]`. Bfloat16 and float16 convert exactly.
 * @throws FormatError `bad-tensor-type` for any type but F32, F16 and BF16; what the source throws.
 */
export function fillValues(tensor: StoredTensor, into: Float32Array): void {
  const size = valueBytes[tensor.dtype];
  const convert = converterOf(tensor);
  forEachPiece({ ...tensor, length: tensor.byteCount }, size, (piece, start) => {
    convert(piece, into.subarray(start / size, (start + piece.length) / size));
  });
}

/** Writes the bits of a tensor of type F16 or BF16, row-major, to `into` `[values]`. @throws what the source throws. */
export function fillHalves(tensor: StoredTensor, into: Uint16Array): void {
  const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
  forEachPiece({ ...tensor, length: tensor.byteCount }, 2, (piece, start) => bytes.set(piece, start));
}

/** Writes the transpose of the matrix `tensor` `[rows, columns]` to `into` `[columns, rows]`. @throws as {@link fillValues}. */
export function fillTransposed(tensor: StoredTensor, into: Float32Array): void {
  const [rowCount, columnCount] = tensor.shape as [number, number];
  const rowBytes = columnCount * valueBytes[tensor.dtype];
  const convert = converterOf(tensor);
  let rows = new Float32Array(0);
  forEachPiece({ ...tensor, length: tensor.byteCount }, rowBytes, (piece, start) => {
    const pieceRows = piece.length / rowBytes;
    if (rows.length < pieceRows * columnCount) rows = new Float32Array(pieceRows * columnCount);
    convert(piece, rows.subarray(0, pieceRows * columnCount));
    scatter(rows, { rowStart: start / rowBytes, pieceRows, columnCount, rowCount }, into);
  });
}

interface Block {
  /** The row of the matrix that is the first of the block. */
  readonly rowStart: number;
  readonly pieceRows: number;
  readonly columnCount: number;
  readonly rowCount: number;
}

/** Columns that are gone through together: as many pages are written to at once, and their addresses stay at hand. */
const columnsTogether = 16;

/** Copies rows to columns, eight at a time, since a column takes eight values as fast as one. */
function scatter(rows: Float32Array, { rowStart, pieceRows, columnCount, rowCount }: Block, into: Float32Array): void {
  const eightsEnd = pieceRows - (pieceRows % 8);
  for (let columnStart = 0; columnStart < columnCount; columnStart += columnsTogether) {
    const columnEnd = Math.min(columnStart + columnsTogether, columnCount);
    for (let row = 0; row < eightsEnd; row += 8) {
      for (let column = columnStart; column < columnEnd; column++) {
        const target = column * rowCount + rowStart + row;
        const from = row * columnCount + column;
        into[target] = rows[from]!;
        into[target + 1] = rows[from + columnCount]!;
        into[target + 2] = rows[from + 2 * columnCount]!;
        into[target + 3] = rows[from + 3 * columnCount]!;
        into[target + 4] = rows[from + 4 * columnCount]!;
        into[target + 5] = rows[from + 5 * columnCount]!;
        into[target + 6] = rows[from + 6 * columnCount]!;
        into[target + 7] = rows[from + 7 * columnCount]!;
      }
    }
    for (let row = eightsEnd; row < pieceRows; row++) {
      for (let column = columnStart; column < columnEnd; column++)
        into[column * rowCount + rowStart + row] = rows[row * columnCount + column]!;
    }
  }
}

/** Writes the values of some bytes to an array that is as long. */
type Converter = (bytes: Uint8Array, into: Float32Array) => void;

function converterOf({ dtype }: StoredTensor): Converter {
  requireLittleEndian();
  switch (dtype) {
    case 'F32':
      return (bytes, into) => new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
    case 'F16':
      return (bytes, into) => convertFloat16(halvesOf(bytes), into);
    case 'BF16':
      return (bytes, into) => convertBfloat16(halvesOf(bytes), into);
    default:
      throw new FormatError('bad-tensor-type', `expected a tensor of type F32, F16 or BF16, found ${dtype}`);
  }
}

function halvesOf(bytes: Uint8Array): Uint16Array {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return new Uint16Array(new Uint8Array(bytes).buffer);
}
