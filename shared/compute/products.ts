/**
 * Matrix products whose gradients never use a product with a transposed operand where that is slow: on WebAssembly 10 to 70 times slower than
 * the plain product, even counting an explicit transposition (decision 5). Elsewhere no copy is made.
 */
import {
  add,
  fused,
  getBackend,
  keep,
  matMul,
  ones,
  reshape,
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
    if (!needsCopies()) return matMul(upstream, weight, false, true);
    if (canBePacked(outSize, inSize)) return packedBack.times(upstream, null);
    if (transposed !== null) return matMul(upstream, transposed);
    transposed = keep(transpose(weight));
    const gradient: Tensor2D = matMul(upstream, transposed);
    releaseValues(transposed);
    return gradient;
  };
  const frozenProduct = (input: Tensor2D, added: Tensor1D | null): Tensor2D =>
    withGradient([input], (x: Tensor2D) => ({
      value: canBePacked(inSize, outSize) ? packed.times(x, added) : product(x, weight, added),
      saved: [],
      backward: (upstream: Tensor2D) => [goBack(upstream)],
    }));
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
 * A frozen linear map whose weight is kept in a smaller form and widened for the length of a product: it needs the memory of one float32 matrix at a
 * time, and a tenth more time at a thousand rows. `kernel()` gives a new tensor at each call. Takes over the bias.
 */
export function compactLinear(weight: CompactMatrix, bias: Tensor1D | null): FrozenLinear {
  const [inSize, outSize] = weight.shape;
  const readable = { shape: weight.shape, values: () => weight.expand(scratchOf(inSize * outSize)) };
  const widened = (): Tensor2D => tensor2d(keepsArrays() ? readable.values() : weight.expand(), [inSize, outSize]);
  const multiply = (x: Tensor2D, added: Tensor1D | null, isTransposed: boolean): Tensor2D => {
    const canPack = isTransposed ? canBePacked(outSize, inSize) : canBePacked(inSize, outSize);
    if (canPack) {
      const packed = packedMatrix(readable, isTransposed);
      const result = packed.times(x, added);
      packed.dispose();
      return result;
    }
    const matrix = widened();
    const result = isTransposed ? timesTransposed(x, matrix) : product(x, matrix, added);
    matrix.dispose();
    return result;
  };
  const frozenProduct = (input: Tensor2D, added: Tensor1D | null): Tensor2D =>
    withGradient([input], (x: Tensor2D) => ({
      value: multiply(x, added, false),
      saved: [],
      backward: (upstream: Tensor2D) => [multiply(upstream, null, true)],
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
    kernel: () => tensor2d(weight.expand(), [inSize, outSize]),
    bias: () => bias,
    dispose: () => bias?.dispose(),
  };
}

/** Whether tensors compute on the very arrays that they were made of, at once: then one array serves all widened matrices. */
function keepsArrays(): boolean {
  return ['native', 'cpu'].includes(getBackend());
}

let scratch = new Float32Array(0);

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
      const bare: Tensor2D = matMul(x, embedding, false, true);
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
        canBePacked(vocabularySize, hiddenSize) ? packedBack.times(upstream, null) : matMul(upstream, embedding),
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

function product(x: Tensor2D, weight: Tensor2D, bias: Tensor1D | null): Tensor2D {
  return bias === null ? matMul(x, weight) : (fused.matMul({ a: x, b: weight, bias }) as Tensor2D);
}

/** `g wᵀ` for `g` `[rows, out]` and `w` `[in, out]`. */
function timesTransposed(g: Tensor2D, w: Tensor2D): Tensor2D {
  return needsCopies() ? matMul(g, transpose(w)) : matMul(g, w, false, true);
}

/**
 * Product `x w` in which both sides may be trained: `[rows, in] × [in, out]`.
 * Of xᵀ g only the smaller operand is transposed: for adapters that is the narrow side, and a wide transposition costs as much as the product.
 */
export function trainableMatMul(x: Tensor2D, w: Tensor2D): Tensor2D {
  return withGradient([x, w], (input: Tensor2D, weight: Tensor2D) => ({
    value: matMul(input, weight),
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
        const biasGradient: Tensor1D = reshape(matMul(ones([1, upstream.shape[0]]), upstream), [-1]);
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
    value: matMul(x, transpose(e)),
    saved: [x, e],
    backward: (upstream: Tensor2D, saved) => {
      const [keptInput, keptEmbedding] = saved as [Tensor2D, Tensor2D];
      return [matMul(upstream, keptEmbedding), transposedProduct(upstream, keptInput)];
    },
  }));
}

/** aᵀ b for `a` `[rows, m]` and `b` `[rows, n]`; where that is slow, with an explicit transposition of the narrower one. */
function transposedProduct(a: Tensor2D, b: Tensor2D): Tensor2D {
  if (!needsCopies()) return matMul(a, b, true, false);
  return tidy(() => (a.shape[1] <= b.shape[1] ? matMul(transpose(a), b) : transpose(matMul(transpose(b), a))));
}
