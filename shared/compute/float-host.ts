/** What kernels of our own that run on every back end, on arrays of float32, need of it. */
import type { TensorInfo } from '@tensorflow/tfjs-core';

/** One call of such a kernel. */
export interface FloatHost {
  readonly inputs: Readonly<Record<string, TensorInfo | undefined>>;
  readonly attrs: Readonly<Record<string, unknown>>;
  /** A new tensor of this shape. */
  readonly output: (shape: readonly number[]) => TensorInfo;
  /** Its values, as long as no tensor is made. */
  readonly values: (tensor: TensorInfo) => Float32Array;
  /** Frees a tensor that is no result. */
  readonly free: (tensor: TensorInfo) => void;
}
