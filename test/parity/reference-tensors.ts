/** Between a reference's parameters and ours: names, orientation, and blocks that the reference stacks into one tensor. */
import type { TensorSpecification } from '../../shared/update/layout.ts';

/** Where one parameter of the reference lives in our layout. */
export interface TensorMapping {
  /** The reference's name. */
  readonly reference: string;
  /** Our tensors, which the reference stacks along its first axis in equal blocks. */
  readonly parts: readonly string[];
  /** Whether ours are the transposed blocks. */
  readonly transposed: boolean;
}

/** A parameter of the reference with its values. */
export interface ReferenceTensor {
  readonly mapping: TensorMapping;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

function transpose(values: Float32Array, rowCount: number): Float32Array {
  const columnCount = values.length / rowCount;
  return values.map((_, index) => values[(index % rowCount) * columnCount + Math.floor(index / rowCount)]!);
}

/** Our tensors from the reference's. @throws Error unless exactly the tensors of `specifications` come out, each once and of its size. */
export function toOurs(
  specifications: readonly TensorSpecification[],
  references: readonly ReferenceTensor[],
): Map<string, Float32Array> {
  const ours = new Map<string, Float32Array>();
  for (const { mapping, shape, values } of references) {
    const { parts, transposed, reference } = mapping;
    const size = values.length / parts.length;
    for (const [index, name] of parts.entries()) {
      if (ours.has(name)) throw new Error(`${name} is given twice, the second time by ${reference}`);
      const block = values.slice(index * size, (index + 1) * size);
      ours.set(name, transposed ? transpose(block, shape[0]! / parts.length) : block);
    }
  }
  for (const { name, shape } of specifications) {
    const found = ours.get(name);
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (found?.length !== size)
      throw new Error(`${name} needs ${size} values, the reference gives ${found?.length ?? 'none'}`);
  }
  if (ours.size !== specifications.length)
    throw new Error(`the reference gives ${ours.size} tensors, the layout has ${specifications.length}`);
  return ours;
}

/** Values in the reference's shape and order from ours, for gradients. */
export function toReference(
  { mapping, shape }: ReferenceTensor,
  ours: ReadonlyMap<string, Float32Array>,
): Float32Array {
  const { parts, transposed } = mapping;
  const blocks = parts.map((name) => {
    const values = ours.get(name);
    if (values === undefined) throw new Error(`there is no gradient for ${name}`);
    return transposed ? transpose(values, shape[1]!) : values;
  });
  const whole = new Float32Array(blocks.reduce((total, block) => total + block.length, 0));
  let offset = 0;
  for (const block of blocks) {
    whole.set(block, offset);
    offset += block.length;
  }
  return whole;
}

/** Layer and rest of a module's path, as all families name them: `encoder.layer.3.output.dense`, `transformer.h.3.mlp.c_fc`. */
export function layerOf(path: string): { readonly layerIndex: number; readonly rest: string } {
  const match = /^(?:.*\.)?(?:layer|layers|h)\.(\d+)\.(.+)$/.exec(path);
  if (match === null) throw new Error(`${path} names no layer`);
  return { layerIndex: Number(match[1]), rest: match[2]! };
}
