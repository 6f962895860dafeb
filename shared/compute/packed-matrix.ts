/** Frozen matrices as products with them want them on WebAssembly: packed once, at the first use. */
import { engine, getBackend, getKernel, keep, type Tensor, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { filledTensor } from './filled-tensor.ts';
import { canPack, packedSize, packPanels } from './simd/packed-product.ts';
import { packedProductKernel } from './wasm-vectors.ts';

/** A matrix `[inSize, outSize]` that is multiplied from the right. */
export interface PackedMatrix {
  /** `x W + bias`; it has no gradient of its own. */
  times(x: Tensor2D, bias: Tensor1D | null): Tensor2D;
  dispose(): void;
}

/** Whether the current back end multiplies with packed matrices, and `[inSize, outSize]` can be one. */
export function canBePacked(inSize: number, outSize: number): boolean {
  return canPack(inSize, outSize) && getKernel(packedProductKernel, getBackend()) !== undefined;
}

/** A matrix that can be read, row after row. */
export interface ReadableMatrix {
  readonly shape: readonly [number, number];
  readonly values: () => Float32Array;
}

/** W or Wᵀ of a matrix, which is read at the first use and then no more. */
export function packedMatrix(weight: ReadableMatrix, isTransposed: boolean): PackedMatrix {
  const [rows, columns] = weight.shape;
  const [inSize, outSize] = isTransposed ? [columns, rows] : [rows, columns];
  let packed: Tensor | null = null;
  const pack = (): Tensor => {
    const values = weight.values();
    const strides = isTransposed ? { rowStride: 1, columnStride: columns } : { rowStride: columns, columnStride: 1 };
    return keep(
      filledTensor([packedSize(inSize, outSize)], (panels) =>
        packPanels(panels, inSize, outSize, { values, ...strides }),
      ),
    );
  };
  return {
    times: (x, bias) => {
      packed ??= pack();
      return engine().runKernel(packedProductKernel, bias === null ? { x, packed } : { x, packed, bias }, {
        inSize,
        outSize,
      }) as Tensor as Tensor2D;
    },
    dispose: () => {
      packed?.dispose();
      packed = null;
    },
  };
}
