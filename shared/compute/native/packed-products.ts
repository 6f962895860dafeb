/**
 * Products with frozen matrices that the engine holds in the order in which its products read them: 3 to 10 % faster than a matrix that is put in that order
 * at every product. A matrix is packed for each direction apart: where gradients come by, at the first; below the lowest adapter after
 * {@link usesMin} products, since activations from there may be kept instead of computed again. A process that only evaluates packs nothing. Beyond a bound, and for memory that threads share so as not to have it twice, products stay what they are.
 */
import type { DataId } from '@tensorflow/tfjs-core';
import type { EngineValue, PreparedProgram, Program } from './programs.ts';

/** Packed matrices by the tensors they were made of. */
export interface PackedProducts {
  /**
   * The product with the matrix packed, or null where the plain one is to be computed.
   * @param product.program takes the matrix as its input `b`.
   * @param product.isGradient whether the product goes back.
   */
  find(product: {
    readonly dataId: DataId;
    readonly program: Program;
    readonly matrix: EngineValue;
    readonly isGradient: boolean;
  }): PreparedProgram | null;
  /** Frees what was packed of a tensor. */
  drop(dataId: DataId): void;
  /** Bytes that are packed now. */
  readonly bytes: () => number;
  /** Frees everything. */
  clear(): void;
}

/** Matrices of fewer values are put in order in no time. */
const valuesMin = 2 ** 14;

/** Products while gradients are computed after which a matrix without a gradient of its own is packed. */
const usesMin = 8;

interface Packed {
  readonly byProgram: Map<string, PreparedProgram>;
  bytes: number;
}

/**
 * Packs nothing yet.
 * @param options.prepare compiles a program around the values of its input `b`.
 * @param options.bytesMax bound on all packed matrices together.
 */
export function createPackedProducts({
  prepare,
  bytesMax,
}: {
  readonly prepare: (program: Program, input: string, value: EngineValue) => PreparedProgram;
  readonly bytesMax: number;
}): PackedProducts {
  const matrices = new Map<DataId, Packed>();
  const uses = new WeakMap<DataId, number>();
  let isTraining = false;
  let bytes = 0;
  const isDue = (dataId: DataId, isGradient: boolean): boolean => {
    isTraining ||= isGradient;
    if (isGradient || !isTraining) return isGradient;
    const count = (uses.get(dataId) ?? 0) + 1;
    uses.set(dataId, count);
    return count > usesMin;
  };
  const drop = (dataId: DataId): void => {
    const packed = matrices.get(dataId);
    if (packed === undefined) return;
    matrices.delete(dataId);
    bytes -= packed.bytes;
    for (const prepared of packed.byProgram.values()) prepared.dispose();
  };
  return {
    find: ({ dataId, program, matrix, isGradient }) => {
      let packed = matrices.get(dataId);
      if (packed === undefined) {
        if (!isDue(dataId, isGradient) || !isWorthPacking(matrix)) return null;
        packed = { byProgram: new Map(), bytes: 0 };
        matrices.set(dataId, packed);
      }
      const known = packed.byProgram.get(program.key);
      if (known !== undefined) return known;
      const { byteLength } = matrix.data;
      if (bytes + byteLength > bytesMax) return null;
      const prepared = prepare(program, 'b', matrix);
      packed.byProgram.set(program.key, prepared);
      packed.bytes += byteLength;
      bytes += byteLength;
      return prepared;
    },
    drop,
    bytes: () => bytes,
    clear: () => {
      for (const dataId of [...matrices.keys()]) drop(dataId);
    },
  };
}

function isWorthPacking({ data }: EngineValue): boolean {
  return data.length >= valuesMin && data.buffer instanceof ArrayBuffer;
}
