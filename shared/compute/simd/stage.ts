/**
 * Vector kernels for arrays that lie outside of WebAssembly's memory: some rows are copied in, computed and copied back, as many at a time as stay
 * in the processor's cache. Copies cost a fraction of what a loop in JavaScript does.
 */
import { type VectorKernels, vectorKernels } from './module.ts';

/** Kernels with a small memory of their own. */
export interface Stage {
  readonly kernels: VectorKernels;
  /** All of the memory. */
  readonly values: Float32Array;
  /** The same memory. */
  readonly halves: Uint16Array;
}

/** 256 KiB. */
const pages = 4;

let stage: Stage | null | undefined;

/** The stage of this thread; null where WebAssembly has no vector instructions. */
function theStage(): Stage | null {
  if (stage === undefined) {
    const memory = new WebAssembly.Memory({ initial: pages });
    const kernels = vectorKernels(memory);
    stage =
      kernels === null
        ? null
        : { kernels, values: new Float32Array(memory.buffer), halves: new Uint16Array(memory.buffer) };
  }
  return stage;
}

/** Arrays of rows that are read or written by a kernel. */
export interface StagedRows {
  readonly rowCount: number;
  /** Values of a row, a multiple of four. */
  readonly size: number;
  /** Vectors that all rows share. */
  readonly shared: readonly Float32Array[];
  /** Arrays with so many values of each row, copied in. */
  readonly inputs: readonly { readonly values: Float32Array; readonly size: number }[];
  /** Copied back. One may take the place of the input at `over`, which the kernel then overwrites. */
  readonly outputs: readonly { readonly values: Float32Array; readonly size: number; readonly over?: number }[];
}

/**
 * Calls `run` with the addresses of what is shared, of inputs and of outputs, and with a number of rows, until all rows are done. Returns false,
 * and does nothing, where there are no vector instructions or a row does not fit.
 */
export function overStagedRows(
  { rowCount, size, shared, inputs, outputs }: StagedRows,
  run: (kernels: VectorKernels, addresses: readonly number[], rows: number) => void,
): boolean {
  const here = theStage();
  if (here === null || size % 4 !== 0) return false;
  const { kernels, values } = here;
  const sharedSize = shared.reduce((sum, { length }) => sum + length, 0);
  const own = outputs.filter(({ over }) => over === undefined);
  const rowSize = [...inputs, ...own].reduce((sum, part) => sum + part.size, 0);
  const rowsMax = Math.floor((values.length - sharedSize) / rowSize);
  if (rowsMax === 0) return false;
  let place = 0;
  const taken = (count: number): number => {
    place += count;
    return place - count;
  };
  const sharedAt = shared.map((vector) => {
    const at = taken(vector.length);
    values.set(vector, at);
    return at;
  });
  const inputsAt = inputs.map((part) => taken(part.size * rowsMax));
  const outputsAt = outputs.map(({ over, size: own }) => (over === undefined ? taken(own * rowsMax) : inputsAt[over]!));
  const addresses = [...sharedAt, ...inputsAt, ...outputsAt].map((at) => 4 * at);
  for (let row = 0; row < rowCount; row += rowsMax) {
    const rows = Math.min(rowsMax, rowCount - row);
    for (const [index, part] of inputs.entries())
      values.set(part.values.subarray(row * part.size, (row + rows) * part.size), inputsAt[index]!);
    run(kernels, addresses, rows);
    for (const [index, part] of outputs.entries()) {
      const at = outputsAt[index]!;
      part.values.set(values.subarray(at, at + rows * part.size), row * part.size);
    }
  }
  return true;
}

/** Halves that are widened at once: with their results three quarters of the memory. */
const halvesMax = 2 ** 15;

/**
 * Writes the values of sixteen-bit floats to `into`, which is as long. Returns false, and does nothing, where there are no vector instructions.
 */
export function widenStaged(
  kernel: 'widen bfloat16' | 'widen float16',
  given: Uint16Array,
  into: Float32Array,
): boolean {
  const here = theStage();
  if (here === null) return false;
  const { kernels, values, halves } = here;
  for (let start = 0; start < given.length; start += halvesMax) {
    const count = Math.min(halvesMax, given.length - start);
    halves.set(given.subarray(start, start + count));
    // What is left over four is computed among values that nobody reads.
    kernels[kernel](0, 2 * halvesMax, count + 3);
    into.set(values.subarray(halvesMax / 2, halvesMax / 2 + count), start);
  }
  return true;
}
