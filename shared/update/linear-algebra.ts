/**
 * The little linear algebra that low-rank aggregation and merges of adapters need, in float64: thin QR by classical Gram-Schmidt done twice
 * (Giraud 2005) and the singular value decomposition by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić 1992), which finds
 * small singular values to full relative accuracy.
 *
 * A matrix is a list of its columns. A low-rank matrix is given by thin factors, M = Σ_i left_i right_iᵀ, and never formed.
 */
import { assert } from '../core/assert.ts';

/** A matrix as its columns, all of one length. */
export type Columns = readonly Float64Array[];

/** M `[left length, right length]` = Σ_i left_i right_iᵀ: as many columns on both sides. */
export interface ThinFactors {
  readonly left: Columns;
  readonly right: Columns;
}

/** Singular values, largest first, and vectors: M = Σ_i values_i left_i right_iᵀ. The largest entry of every left vector is positive. */
export interface Decomposition extends ThinFactors {
  readonly values: readonly number[];
}

/** Inner product of two columns. */
export function dot(left: Float64Array, right: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < left.length; index++) sum += left[index]! * right[index]!;
  return sum;
}

/** Inner products of one column with each of some others, four at a time: the one is read once for four. */
function dots(columns: Columns, count: number, other: Float64Array): Float64Array {
  const found = new Float64Array(count);
  let index = 0;
  for (; index + 4 <= count; index += 4) {
    const [first, second, third, fourth] = [
      columns[index]!,
      columns[index + 1]!,
      columns[index + 2]!,
      columns[index + 3]!,
    ];
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let place = 0; place < other.length; place++) {
      const value = other[place]!;
      a += first[place]! * value;
      b += second[place]! * value;
      c += third[place]! * value;
      d += fourth[place]! * value;
    }
    found.set([a, b, c, d], index);
  }
  for (; index < count; index++) found[index] = dot(columns[index]!, other);
  return found;
}

/** Adds `scale * addend` to `sum` in place. */
export function addColumn(sum: Float64Array, addend: Float64Array, scale: number): void {
  for (let index = 0; index < sum.length; index++) sum[index]! += scale * addend[index]!;
}

/** Σ_i weights_i columns_i `[length]`. */
export function combine(columns: Columns, weights: ArrayLike<number>, length: number): Float64Array {
  const sum = new Float64Array(length);
  for (const [index, column] of columns.entries()) if (weights[index] !== 0) addColumn(sum, column, weights[index]!);
  return sum;
}

/** What is left of a column beside those before it counts as rounding below this share of its length. */
const dependentShare = 1e-14;

/**
 * Thin QR: `q` has orthonormal columns, at most as many as rows, and `r_j` `[q columns]` combines them to column j. Columns that depend on
 * those before them add none. Cost: O(rows x columns²).
 */
export function thinQr(columns: Columns): { readonly q: Columns; readonly r: Columns } {
  const q: Float64Array[] = [];
  const coefficients = columns.map((column) => {
    const rest = column.slice();
    const found = new Float64Array(columns.length);
    const length = Math.sqrt(dot(column, column));
    if (length === 0) return found;
    // Once leaves an error that grows with the condition of the columns, twice leaves rounding alone.
    for (let pass = 0; pass < 2; pass++) {
      for (const [index, part] of dots(q, q.length, rest).entries()) {
        found[index]! += part;
        addColumn(rest, q[index]!, -part);
      }
    }
    const left = Math.sqrt(dot(rest, rest));
    if (left > dependentShare * length && q.length < column.length) {
      found[q.length] = left;
      q.push(rest.map((value) => value / left));
    }
    return found;
  });
  return { q, r: coefficients.map((found) => found.subarray(0, q.length)) };
}

/** Rotations until all columns are orthogonal: more sweeps than any matrix of doubles was seen to need. */
const sweepsMax = 60;
const orthogonal = 1e-15;

/**
 * Singular values and vectors of a small dense matrix; singular values of exactly 0 are left out. Cost: O(rows x columns²) per sweep, some
 * ten sweeps.
 */
export function decompose(matrix: Columns): Decomposition {
  const [columnCount, rowCount] = [matrix.length, matrix[0]?.length ?? 0];
  if (columnCount > rowCount) {
    const { values, left, right } = decompose(transpose(matrix, rowCount));
    return withFixedSigns({ values, left: right, right: left });
  }
  const work = matrix.map((column) => column.slice());
  const turned = work.map((_, index) => unit(columnCount, index));
  for (let sweep = 0; sweep < sweepsMax; sweep++) {
    if (!rotateAll(work, turned)) break;
  }
  const lengths = work.map((column) => Math.sqrt(dot(column, column)));
  const order = lengths.map((_, index) => index).filter((index) => lengths[index]! > 0);
  order.sort((first, second) => lengths[second]! - lengths[first]! || first - second);
  return withFixedSigns({
    values: order.map((index) => lengths[index]!),
    left: order.map((index) => work[index]!.map((value) => value / lengths[index]!)),
    right: order.map((index) => turned[index]!),
  });
}

/** One sweep over all pairs of columns; false when nothing had to be rotated. */
function rotateAll(work: readonly Float64Array[], turned: readonly Float64Array[]): boolean {
  let isRotated = false;
  const squares = work.map((column) => dot(column, column));
  for (let first = 0; first < work.length; first++) {
    for (let second = first + 1; second < work.length; second++) {
      const [alpha, beta, gamma] = [squares[first]!, squares[second]!, dot(work[first]!, work[second]!)];
      if (Math.abs(gamma) <= orthogonal * Math.sqrt(alpha * beta)) continue;
      isRotated = true;
      const zeta = (beta - alpha) / (2 * gamma);
      const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      const cosine = 1 / Math.sqrt(1 + tangent * tangent);
      rotate(work[first]!, work[second]!, cosine, cosine * tangent);
      rotate(turned[first]!, turned[second]!, cosine, cosine * tangent);
      squares[first] = Math.max(0, alpha - tangent * gamma);
      squares[second] = Math.max(0, beta + tangent * gamma);
    }
  }
  return isRotated;
}

function rotate(first: Float64Array, second: Float64Array, cosine: number, sine: number): void {
  for (let index = 0; index < first.length; index++) {
    const [left, right] = [first[index]!, second[index]!];
    first[index] = cosine * left - sine * right;
    second[index] = sine * left + cosine * right;
  }
}

/** Signs of singular vectors are free; this choice makes results the same whatever the path to them. */
function withFixedSigns({ values, left, right }: Decomposition): Decomposition {
  const signs = left.map((column) => {
    const largest = column.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    return largest < 0 ? -1 : 1;
  });
  const signed = (columns: Columns): Columns =>
    columns.map((column, index) => column.map((value) => value * signs[index]!));
  return { values, left: signed(left), right: signed(right) };
}

function unit(length: number, place: number): Float64Array {
  const column = new Float64Array(length);
  column[place] = 1;
  return column;
}

/** The rows of a matrix as columns. */
export function transpose(matrix: Columns, rowCount: number): Columns {
  return Array.from({ length: rowCount }, (_, row) => Float64Array.from(matrix, (column) => column[row]!));
}

/**
 * Singular values and vectors of M = Σ_i left_i right_iᵀ without forming it: QR of both sides, then the decomposition of the small
 * R_left R_rightᵀ. Cost: O((m + n) R²) and O(R³) per sweep for R columns.
 */
export function decomposeThin({ left, right }: ThinFactors): Decomposition {
  assert(left.length === right.length, 'thin factors have as many columns on both sides');
  const [sideLeft, sideRight] = [thinQr(left), thinQr(right)];
  const core = sideRight.q.map((_, column) =>
    combine(
      sideLeft.r,
      Float64Array.from(sideRight.r, (found) => found[column]!),
      sideLeft.q.length,
    ),
  );
  const small = decompose(core);
  return withFixedSigns({
    values: small.values,
    left: small.left.map((weights) => combine(sideLeft.q, weights, left[0]!.length)),
    right: small.right.map((weights) => combine(sideRight.q, weights, right[0]!.length)),
  });
}

/** Frobenius norm of Σ_i left_i right_iᵀ, from inner products alone. Cost: O((m + n) R²). */
export function frobeniusNorm({ left, right }: ThinFactors): number {
  let square = 0;
  for (let first = 0; first < left.length; first++) {
    square += dot(left[first]!, left[first]!) * dot(right[first]!, right[first]!);
    const [ofLeft, ofRight] = [dots(left, first, left[first]!), dots(right, first, right[first]!)];
    for (let second = 0; second < first; second++) square += 2 * ofLeft[second]! * ofRight[second]!;
  }
  return Math.sqrt(Math.max(0, square));
}

/**
 * The least-squares solution X of `matrix` X = `target` by QR: `[matrix columns, target columns]` as columns. Directions that `matrix` does
 * not have stay 0.
 */
export function leastSquares(matrix: Columns, target: Columns): Columns {
  const { values, left, right } = decomposeThin({
    left: matrix,
    right: matrix.map((_, index) => unit(matrix.length, index)),
  });
  const kept = values.filter((value) => value > dependentShare * values[0]!).length;
  return target.map((column) =>
    combine(
      right.slice(0, kept),
      Float64Array.from({ length: kept }, (_, index) => dot(left[index]!, column) / values[index]!),
      matrix.length,
    ),
  );
}
