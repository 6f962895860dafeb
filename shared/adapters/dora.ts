/**
 * Weight-decomposed low-rank adaptation (Liu 2024, section 4.1): y = m ∘ (W x + s B A drop(x)) / n + c with n = ‖W + s B A‖, the norm of
 * each row `[out]` of the adapted map. As in PEFT, n counts as a constant for the gradient (section 4.3), and dropout acts on the low-rank
 * branch.
 *
 * m starts as ‖W‖, which only those who hold the base can compute; so what is trained and travels is δ `[out]` with m = ‖W‖ + δ and δ = 0
 * at the start: the same gradients, and the same identity. A `[rank, in]`, B `[out, rank]` and s are those of `lora`.
 */
import {
  add,
  concat,
  div,
  matMul,
  maximum,
  mul,
  ones,
  slice,
  sqrt,
  square,
  sub,
  type Tensor1D,
  type Tensor2D,
  transpose,
} from '@tensorflow/tfjs-core';
import { withoutGradient } from '../compute/custom-gradient.ts';
import type { FrozenMap } from '../model/base-model.ts';
import { zeroValues } from './initial-values.ts';
import {
  adaptedMapAt,
  factorTensors,
  initialFactor,
  type LoraConfiguration,
  loraMapsOf,
  lowRankProduct,
  parseLora,
} from './lora.ts';
import { addLowRank, valuesOf } from './merge-arithmetic.ts';
import type { AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';

/** Smallest square of a norm: an adapted row of zeros stays one. */
const squareMin = 1e-24;

/** The method `dora`; its settings are those of `lora`. */
export const dora: AdapterMethod<LoraConfiguration> = {
  name: 'dora',
  parse: (value, base) => parseLora('dora', value, base),
  layout: (base, configuration) =>
    loraMapsOf(configuration).flatMap((map) => {
      const shape = [base.linearTargets[map.site.target]!.outSize];
      const magnitude = { name: `${map.name}.magnitude`, shape, aggregationClass: 'mean', decays: false } as const;
      // No pair for aggregation: what the factors do is not linear in their product, so products must not be averaged.
      const factors = factorTensors(base, map).map(({ pair: _pair, ...factor }) => factor);
      return [...factors, magnitude];
    }),
  initialise: (specification, _, random) =>
    specification.name.endsWith('.magnitude') ? zeroValues(specification.shape) : initialFactor(specification, random),
  hooks: (_, configuration, context) => ({
    lowestLayerIndex: Math.min(...configuration.layers),
    isTokenwise: true,
    linearTargets: new Set(configuration.targets),
    linear: (site, input, output, frozen) => {
      const map = adaptedMapAt(configuration, site);
      if (map === undefined) return undefined;
      const norms = rowNorms(frozen, {
        a: tensorOf<Tensor2D>(context, `${map.name}.a`),
        b: tensorOf<Tensor2D>(context, `${map.name}.b`),
        scale: map.scale,
      });
      const magnitude = add(norms.frozen, tensorOf<Tensor1D>(context, `${map.name}.magnitude`));
      const ratio: Tensor2D = div(magnitude, norms.adapted);
      const bias = frozen.bias(input);
      const bare: Tensor2D = bias === null ? output : sub(output, bias);
      const low = mul(lowRankProduct(input, map.name, configuration.dropout, context), map.scale);
      return add(add(output, mul(bare, sub(ratio, 1))), mul(low, ratio));
    },
  }),
  merge: (_, configuration, site, { kernel, bias }, parameters) => {
    const map = adaptedMapAt(configuration, site);
    if (map === undefined) return undefined;
    const delta = valuesOf(parameters, `${map.name}.magnitude`);
    const factors = { a: valuesOf(parameters, `${map.name}.a`), b: valuesOf(parameters, `${map.name}.b`) };
    const adapted = addLowRank(kernel, { ...factors, rank: map.rank, scale: map.scale });
    const outSize = delta.length;
    const norm = (values: ArrayLike<number>, output: number): number => {
      let sum = 0;
      for (let index = output; index < values.length; index += outSize) sum += values[index]! ** 2;
      return Math.sqrt(sum);
    };
    const ratios = Float64Array.from(delta, (change, output) => {
      return (norm(kernel, output) + change) / Math.max(norm(adapted, output), Math.sqrt(squareMin));
    });
    return { kernel: Float32Array.from(adapted, (value, index) => value * ratios[index % outSize]!), bias };
  },
};

/**
 * ‖W‖ and ‖W + s B A‖ of every output, `[1, out]` each, as constants. The square of the second is ‖W‖² + 2 s b·(A W) + s² b·(A Aᵀ) b, so
 * that no matrix of W's size is formed but W's own square.
 */
function rowNorms(
  frozen: FrozenMap,
  { a, b, scale }: { readonly a: Tensor2D; readonly b: Tensor2D; readonly scale: number },
): { readonly frozen: Tensor2D; readonly adapted: Tensor2D } {
  const kernel = frozen.kernel();
  const both = withoutGradient(kernel, () => {
    const columnSums = (values: Tensor2D): Tensor2D => matMul(ones([1, values.shape[0]]), values);
    const own = columnSums(square(kernel));
    const columns = transpose(b);
    const cross = columnSums(mul(columns, matMul(a, kernel)));
    const quadratic = columnSums(mul(columns, matMul(matMul(a, transpose(a)), columns)));
    const whole = add(own, add(mul(cross, 2 * scale), mul(quadratic, scale ** 2)));
    return sqrt(concat([own, maximum(whole, squareMin)], 0)) as Tensor2D;
  });
  const outSize = kernel.shape[1];
  return { frozen: slice(both, [0, 0], [1, outSize]), adapted: slice(both, [1, 0], [1, outSize]) };
}
