/**
 * Products with frozen matrices that the engine holds in the order in which its products read them: 3 to 6 % faster than a matrix that is put in that order
 * at every product. What is packed depends on the step alone, and not on what was computed before, so that every step of a training gives the same results wherever it
 * runs: products through which gradients go back. Evaluation, and layers below the lowest adapter, whose activations may be kept, have plain products and pay no memory. Beyond a
 * bound, and for memory that threads share so as not to have it twice, products stay plain.
 */
import type { DataId } from '@tensorflow/tfjs-core';
import type { EngineValue, PreparedProgram, Program } from './programs.ts';

/** Packed matrices by the tensors they were made of. */
export interface PackedProducts {
  /**
   * The product with the matrix packed, or null where the plain one is to be computed.
   * @param product.program takes the matrix as its input `b`.
   */
  find(product: {
    readonly dataId: DataId;
    readonly program: Program;
    readonly matrix: EngineValue;
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
  let bytes = 0;
  const drop = (dataId: DataId): void => {
    const packed = matrices.get(dataId);
    if (packed === undefined) return;
    matrices.delete(dataId);
    bytes -= packed.bytes;
    for (const prepared of packed.byProgram.values()) prepared.dispose();
  };
  return {
    find: ({ dataId, program, matrix }) => {
      const known = matrices.get(dataId)?.byProgram.get(program.key);
      if (known !== undefined) return known;
      const { byteLength } = matrix.data;
      if (!isWorthPacking(matrix) || bytes + byteLength > bytesMax) return null;
      const packed = matrices.get(dataId) ?? { byProgram: new Map(), bytes: 0 };
      matrices.set(dataId, packed);
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

/** A matrix as wide as it is long, of which attention has four, gains half of what those of the feed-forward gain. */
function isWorthPacking({ data, dims: [rows, columns] }: EngineValue): boolean {
  return data.length >= valuesMin && rows !== columns && data.buffer instanceof ArrayBuffer;
}
