/**
 * Matrix products whose gradients never use a product with a transposed operand where that is slow: on WebAssembly 10 to 70 times slower than
 * the plain product, even counting an explicit transposition (decision 5). Elsewhere no copy is made.
 */
import {
  add,
  concat,
  engine,
  fused,
  getBackend,
  keep,
  matMul,
  ones,
  reshape,
  slice,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor2d,
  tidy,
  transpose,
} from '@tensorflow/tfjs-core';
import type { CompactMatrix } from './compact-matrix.ts';
import { isConstant } from './constants.ts';
import { withGradient } from './custom-gradient.ts';
import { canBePacked, packedMatrix } from './packed-matrix.ts';
import { leadsBack } from './value-and-gradients.ts';
import { releaseValues } from './wasm-kernels.ts';

/** A frozen linear map y = x W + c. */
export interface FrozenLinear {
  readonly inSize: number;
  readonly outSize: number;
  /** `[rows, inSize]` → `[rows, outSize]`; only `input` gets a gradient, and what of `changed` stands in for the frozen tensors. */
  apply(input: Tensor2D, changed?: ChangedLinear): Tensor2D;
  /** W `[inSize, outSize]`, borrowed. */
  kernel(): Tensor2D;
  /** c `[outSize]`, borrowed, or null where the map has none. */
  bias(): Tensor1D | null;
  /** Frees the weights. */
  dispose(): void;
}

/** Trainable tensors in place of a map's own. */
export interface ChangedLinear {
  /** `[inSize, outSize]`. */
  readonly kernel?: Tensor2D | undefined;
  readonly bias?: Tensor1D | undefined;
}

/** Whether a product with a transposed operand costs more than a transposed copy. */
function needsCopies(): boolean {
  return getBackend() === 'wasm';
}

/**
 * A frozen linear map. Takes over both tensors. On WebAssembly the weight is packed at the first product, and once more, transposed, when the first
 * gradient asks for it, so that evaluation does not pay its memory.
 * @param weight W `[inSize, outSize]`.
 * @param bias c `[outSize]`, or null for none.
 */
export function frozenLinear(weight: Tensor2D, bias: Tensor1D | null): FrozenLinear {
  const [inSize, outSize] = weight.shape;
  const readable = { shape: weight.shape, values: () => weight.dataSync<'float32'>() };
  const [packed, packedBack] = [packedMatrix(readable, false), packedMatrix(readable, true)];
  let transposed: Tensor2D | null = null;
  const goBack = (upstream: Tensor2D): Tensor2D => {
    if (!needsCopies()) return multiply(upstream, weight, { transposeB: true, packs: true });
    if (canBePacked(outSize, inSize)) return packedBack.times(upstream, null);
    if (transposed !== null) return multiply(upstream, transposed);
    transposed = keep(transpose(weight));
    const gradient = multiply(upstream, transposed);
    releaseValues(transposed);
    return gradient;
  };
  const frozenProduct = (input: Tensor2D, added: Tensor1D | null): Tensor2D => {
    const packs = leadsBack(input);
    return withGradient([input], (x: Tensor2D) => ({
      value: canBePacked(inSize, outSize) ? packed.times(x, added) : multiply(x, weight, { bias: added, packs }),
      saved: [],
      backward: (upstream: Tensor2D) => [goBack(upstream)],
    }));
  };
  const changedLinear = (input: Tensor2D, { kernel, bias: ownBias = bias ?? undefined }: ChangedLinear): Tensor2D => {
    const bare = kernel === undefined ? frozenProduct(input, null) : trainableMatMul(input, kernel);
    return ownBias === undefined ? bare : add(bare, ownBias);
  };
  return {
    inSize,
    outSize,
    apply: (input, changed) => {
      if (changed !== undefined) return changedLinear(input, changed);
      return frozenProduct(input, bias);
    },
    kernel: () => weight,
    bias: () => bias,
    dispose: () => {
      weight.dispose();
      bias?.dispose();
      for (const copy of [packed, packedBack, transposed]) copy?.dispose();
      transposed = null;
    },
  };
}

/**
 * A frozen linear map whose weight is kept in a smaller form and widened for the length of a product, a part at a time where it is large: it needs
 * the memory of one part in float32, and 3 % more time at a thousand rows. `kernel()` gives a new tensor at each call. Takes over the bias.
 * @param layout whether the rows of `weight` are inputs or outputs.
 */
export function compactLinear(
  weight: CompactMatrix,
  bias: Tensor1D | null,
  layout: 'in-out' | 'out-in' = 'in-out',
): FrozenLinear {
  const isTurned = layout === 'out-in';
  const [inSize, outSize] = isTurned ? [weight.shape[1], weight.shape[0]] : weight.shape;
  const frozenProduct = (input: Tensor2D, added: Tensor1D | null): Tensor2D =>
    withGradient([input], (x: Tensor2D) => ({
      value: partwiseProduct(x, weight, added, isTurned),
      saved: [],
      backward: (upstream: Tensor2D) => [partwiseProduct(upstream, weight, null, !isTurned)],
    }));
  return {
    inSize,
    outSize,
    apply: (input, changed) => {
      if (changed === undefined) return frozenProduct(input, bias);
      const { kernel, bias: ownBias = bias ?? undefined } = changed;
      const bare = kernel === undefined ? frozenProduct(input, null) : trainableMatMul(input, kernel);
      return ownBias === undefined ? bare : add(bare, ownBias);
    },
    kernel: () =>
      tidy(() => {
        const whole = tensor2d(weight.expand(), [...weight.shape]);
        return isTurned ? transpose(whole) : whole;
      }),
    bias: () => bias,
    dispose: () => bias?.dispose(),
  };
}

/** Values of a part of a compact matrix that is widened at once: 16 MiB. */
const partValuesMax = 2 ** 22;
/** Columns of results from which on a part is computed as the whole would be. */
const partColumnsMin = 128;

/** `x W + added`, or with Wᵀ. Parts are of the columns of the result, so that no sum is split. */
function partwiseProduct(x: Tensor2D, weight: CompactMatrix, added: Tensor1D | null, isTransposed: boolean): Tensor2D {
  const [rowCount, columnCount] = weight.shape;
  const [innerSize, outerSize] = isTransposed ? [columnCount, rowCount] : [rowCount, columnCount];
  const width = Math.max(partColumnsMin, Math.floor(partValuesMax / innerSize));
  const partOf = (start: number): Tensor2D => {
    const end = outerSize - start < width + partColumnsMin ? outerSize : start + width;
    const part = isTransposed
      ? ({ rows: [start, end], columns: [0, columnCount] } as const)
      : ({ rows: [0, rowCount], columns: [start, end] } as const);
    const shape = [part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]] as const;
    const size = shape[0] * shape[1];
    const own = added === null || size === rowCount * columnCount ? added : slice(added, start, end - start);
    const readable = { shape, values: () => weight.expand(scratchOf(size), part) };
    if (canBePacked(innerSize, end - start)) {
      const packed = packedMatrix(readable, isTransposed);
      const result = packed.times(x, own);
      packed.dispose();
      return result;
    }
    const matrix: Tensor2D = tensor2d(keepsArrays() ? readable.values() : weight.expand(undefined, part), [...shape]);
    return isTransposed ? transposedProductOf(x, matrix, own) : product(x, matrix, own);
  };
  return tidy(() => {
    const results: Tensor2D[] = [];
    for (let done = 0; done < outerSize; done += results.at(-1)!.shape[1]) results.push(tidy(() => partOf(done)));
    return results.length === 1 ? results[0]! : concat(results, 1);
  });
}

/** `x Wᵀ + bias`. */
function transposedProductOf(x: Tensor2D, weight: Tensor2D, bias: Tensor1D | null): Tensor2D {
  if (needsCopies()) return product(x, transpose(weight), bias);
  if (bias === null) return matMul(x, weight, false, true);
  return fused.matMul({ a: x, b: weight, transposeB: true, bias }) as Tensor2D;
}

/** Whether tensors compute on the very arrays that they were made of, at once: then one array serves all widened matrices. */
function keepsArrays(): boolean {
  return ['native', 'cpu'].includes(getBackend());
}

let scratch: Float32Array<ArrayBuffer> = new Float32Array(0);

/** The array in which matrices are widened, one after the other. */
function scratchOf(size: number): Float32Array<ArrayBuffer> {
  if (scratch.length < size) scratch = new Float32Array(size);
  return scratch.subarray(0, size);
}

/** {@link tiedOutput}. */
export interface TiedOutput {
  /** `[rows, hidden]` → `[rows, vocabulary]`; only `input` gets a gradient, and what stands in for the frozen tensors. */
  apply(
    input: Tensor2D,
    changed?: { readonly embedding?: Tensor2D | undefined; readonly bias?: Tensor1D | undefined },
  ): Tensor2D;
  /** c `[vocabulary]`, borrowed, or null for none. */
  readonly bias: Tensor1D | null;
  /** Frees what it owns. */
  dispose(): void;
}

/**
 * A frozen output matrix tied to an embedding: y = x Eᵀ + c. Where it needs a copy, that is made at the first use, since most uses of a base
 * never score tokens; the gradient needs E itself.
 * @param embedding E `[vocabulary, hidden]`, borrowed.
 * @param bias c `[vocabulary]`, taken over; null for none.
 */
export function tiedOutput(embedding: Tensor2D, bias: Tensor1D | null): TiedOutput {
  const [vocabularySize, hiddenSize] = embedding.shape;
  const readable = { shape: embedding.shape, values: () => embedding.dataSync<'float32'>() };
  const [packed, packedBack] = [packedMatrix(readable, true), packedMatrix(readable, false)];
  let transposed: Tensor2D | null = null;
  const scored = (x: Tensor2D, added: Tensor1D | null): Tensor2D => {
    if (canBePacked(hiddenSize, vocabularySize)) return packed.times(x, added);
    if (!needsCopies()) {
      const bare = multiply(x, embedding, { transposeB: true });
      return added === null ? bare : add(bare, added);
    }
    transposed ??= keep(transpose(embedding));
    return product(x, transposed, added);
  };
  const frozenProduct = (input: Tensor2D, added: Tensor1D | null): Tensor2D =>
    withGradient([input], (x: Tensor2D) => ({
      value: scored(x, added),
      saved: [],
      backward: (upstream: Tensor2D) => [
        canBePacked(vocabularySize, hiddenSize) ? packedBack.times(upstream, null) : multiply(upstream, embedding),
      ],
    }));
  return {
    apply: (input, changed) => {
      if (changed === undefined) return frozenProduct(input, bias);
      const ownBias = changed.bias ?? bias;
      const bare =
        changed.embedding === undefined ? frozenProduct(input, null) : trainableTiedProduct(input, changed.embedding);
      return ownBias === null ? bare : add(bare, ownBias);
    },
    bias,
    dispose: () => {
      bias?.dispose();
      for (const copy of [packed, packedBack, transposed]) copy?.dispose();
      transposed = null;
    },
  };
}

/** How {@link multiply} takes its operands, and what it adds. */
interface ProductOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: Tensor1D | null;
  /** Whether the native back end is to keep `b`, which never changes, as it multiplies best. */
  readonly packs?: boolean;
}

/** The product of two matrices; it has no gradient of its own where the native kernel is called. */
function multiply(a: Tensor2D, b: Tensor2D, options: ProductOptions = {}): Tensor2D {
  const { transposeA = false, transposeB = false, bias = null, packs = false } = options;
  if (getBackend() === 'native') {
    // The library makes three stacks of one matrix around every product.
    return engine().runKernel('_FusedMatMul', bias === null ? { a, b } : { a, b, bias }, {
      transposeA,
      transposeB,
      packs,
    }) as Tensor as Tensor2D;
  }
  if (bias === null) return matMul(a, b, transposeA, transposeB);
  return fused.matMul({ a, b, transposeA, transposeB, bias }) as Tensor2D;
}

function product(x: Tensor2D, weight: Tensor2D, bias: Tensor1D | null): Tensor2D {
  return multiply(x, weight, { bias });
}

/** `g wᵀ` for `g` `[rows, out]` and `w` `[in, out]`, without a gradient. */
export function timesTransposed(g: Tensor2D, w: Tensor2D): Tensor2D {
  return needsCopies() ? multiply(g, transpose(w)) : multiply(g, w, { transposeB: true });
}

/**
 * Product `x w` in which both sides may be trained: `[rows, in] × [in, out]`.
 * Of xᵀ g only the smaller operand is transposed: for adapters that is the narrow side, and a wide transposition costs as much as the product.
 */
export function trainableMatMul(x: Tensor2D, w: Tensor2D): Tensor2D {
  return withGradient([x, w], (input: Tensor2D, weight: Tensor2D) => ({
    value: multiply(input, weight),
    saved: [input, weight],
    backward: (upstream: Tensor2D, saved) => {
      const [keptInput, keptWeight] = saved as [Tensor2D, Tensor2D];
      const inputGradient = timesTransposed(upstream, keptWeight);
      return [inputGradient, transposedProduct(keptInput, upstream)];
    },
  }));
}

/**
 * Linear map `x w + c` in which everything may be trained, unless it is marked as constant: `[rows, in] × [in, out] + [out]`. The gradient of
 * the bias is a product with a row of ones: summing columns costs the library a transposition of all of `g`.
 */
export function trainableLinear(x: Tensor2D, w: Tensor2D, c: Tensor1D): Tensor2D {
  if (isConstant(w) && isConstant(c)) return constantLinear(x, w, c);
  return withGradient([x, w, c], (...inputs: [Tensor2D, Tensor2D, Tensor1D]) => {
    const [input, weight, bias] = inputs;
    return {
      value: product(input, weight, bias),
      saved: [input, weight],
      backward: (upstream: Tensor2D, saved) => {
        const [keptInput, keptWeight] = saved as [Tensor2D, Tensor2D];
        const inputGradient = timesTransposed(upstream, keptWeight);
        const biasGradient: Tensor1D = reshape(multiply(ones([1, upstream.shape[0]]), upstream), [-1]);
        return [inputGradient, transposedProduct(keptInput, upstream), biasGradient];
      },
    };
  });
}

/** `x w + c` with a gradient of x alone. */
function constantLinear(x: Tensor2D, w: Tensor2D, c: Tensor1D): Tensor2D {
  return withGradient([x], (input: Tensor2D) => ({
    value: product(input, w, c),
    saved: [w],
    backward: (upstream: Tensor2D, saved) => [timesTransposed(upstream, saved[0] as Tensor2D)],
  }));
}

/** x Eᵀ in which both sides may be trained. */
function trainableTiedProduct(input: Tensor2D, embedding: Tensor2D): Tensor2D {
  return withGradient([input, embedding], (x: Tensor2D, e: Tensor2D) => ({
    value: multiply(x, transpose(e)),
    saved: [x, e],
    backward: (upstream: Tensor2D, saved) => {
      const [keptInput, keptEmbedding] = saved as [Tensor2D, Tensor2D];
      return [multiply(upstream, keptEmbedding), transposedProduct(upstream, keptInput)];
    },
  }));
}

/** A result with so many times more rows than columns takes twice as long as its transpose. */
const narrowTimes = 4;

/** aᵀ b for `a` `[rows, m]` and `b` `[rows, n]`; where that is slow, with an explicit transposition of the narrower one. Without a gradient. */
export function transposedProduct(a: Tensor2D, b: Tensor2D): Tensor2D {
  if (!needsCopies() && a.shape[1] < narrowTimes * b.shape[1]) return multiply(a, b, { transposeA: true });
  if (!needsCopies()) return tidy(() => transpose(multiply(b, a, { transposeA: true })));
  return tidy(() => (a.shape[1] <= b.shape[1] ? multiply(transpose(a), b) : transpose(multiply(transpose(b), a))));
}
