/** The random projections of VeRA: A `[rank, widest in]` and B `[widest out, rank]`, frozen and shared by all maps of an adapter. */
import { slice, type Tensor2D, tensor2d, transpose } from '@tensorflow/tfjs-core';
import { seededRandom } from '../core/random.ts';
import type { BaseDescription, LinearTarget } from '../model/base-model.ts';
import { kaimingUniform } from './initial-values.ts';
import type { AdapterContext } from './method.ts';
import { tensorOf } from './named-tensor.ts';

/** What the projections depend on. */
export interface ProjectionSettings {
  readonly targets: readonly LinearTarget[];
  readonly rank: number;
  readonly projectionSeed: number;
}

/** Width of a map. */
export interface MapSize {
  readonly inSize: number;
  readonly outSize: number;
}

/** Shapes of A and B on a base. */
export function projectionShapes(
  { linearTargets }: BaseDescription,
  { targets, rank }: ProjectionSettings,
): { readonly a: readonly [number, number]; readonly b: readonly [number, number] } {
  const maps = targets.map((target) => linearTargets[target]!);
  const widest = (size: (map: MapSize) => number) => Math.max(...maps.map(size));
  return { a: [rank, widest(({ inSize }) => inSize)], b: [widest(({ outSize }) => outSize), rank] };
}

/** Values of A or B from the seed: uniform in ±√(6 / columns), the distribution of PEFT's (He 2015, equation 10). */
export function projectionValues(
  factor: 'a' | 'b',
  shape: readonly [number, number],
  { projectionSeed }: ProjectionSettings,
): Float32Array {
  return kaimingUniform(shape, shape[1] / 6, seededRandom(projectionSeed, 'vera', factor));
}

/** Aᵀ and Bᵀ cut to one map: `[in, rank]` and `[rank, out]`. */
export type CutProjections = (size: MapSize) => { readonly down: Tensor2D; readonly up: Tensor2D };

/** Projections that are tensors of the adapter. */
export function storedProjections(context: AdapterContext, { rank }: ProjectionSettings): CutProjections {
  return ({ inSize, outSize }) => ({
    down: transpose(slice(tensorOf<Tensor2D>(context, 'vera.a'), [0, 0], [rank, inSize])),
    up: transpose(slice(tensorOf<Tensor2D>(context, 'vera.b'), [0, 0], [outSize, rank])),
  });
}

/** Projections from the seed. Their values are computed once for every size; the tensors belong to the pass that uses them. */
export function seededProjections(base: BaseDescription, settings: ProjectionSettings): CutProjections {
  const { rank } = settings;
  const shapes = projectionShapes(base, settings);
  const values = once(() => ({
    a: projectionValues('a', shapes.a, settings),
    b: projectionValues('b', shapes.b, settings),
  }));
  const cuts = new Map<string, { readonly down: Float32Array; readonly up: Float32Array }>();
  const cut = ({ inSize, outSize }: MapSize) => {
    const { a, b } = values();
    const down = new Float32Array(inSize * rank);
    for (let row = 0; row < rank; row++)
      for (let input = 0; input < inSize; input++) down[input * rank + row] = a[row * shapes.a[1] + input]!;
    const up = new Float32Array(rank * outSize);
    for (let output = 0; output < outSize; output++)
      for (let row = 0; row < rank; row++) up[row * outSize + output] = b[output * rank + row]!;
    return { down, up };
  };
  return (size) => {
    const key = `${size.inSize} ${size.outSize}`;
    const found = cuts.get(key) ?? cut(size);
    cuts.set(key, found);
    return { down: tensor2d(found.down, [size.inSize, rank]), up: tensor2d(found.up, [rank, size.outSize]) };
  };
}

function once<Value>(compute: () => Value): () => Value {
  let value: Value | undefined;
  return () => {
    value ??= compute();
    return value;
  };
}
