/**
 * Frozen layer norm (Ba 2016): y = x̂ ∘ γ + β with x̂ = (x − mean) / √(variance + ε) over the last axis.
 * Backward, with g = γ ∘ dy: dx = (g − mean(g) − x̂ ∘ mean(g ∘ x̂)) / √(variance + ε).
 */
import { add, mean, mul, rsqrt, square, sub, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';

/** A frozen layer norm. */
export interface FrozenNorm {
  /** `[rows, size]` → `[rows, size]`; only `input` gets a gradient. */
  apply(input: Tensor2D): Tensor2D;
  /** Frees gain and bias. */
  dispose(): void;
}

/** A frozen layer norm with gain γ `[size]`, bias β `[size]` and ε. Takes over both tensors. */
export function frozenNorm(gain: Tensor1D, bias: Tensor1D, epsilon: number): FrozenNorm {
  return {
    apply: (input) =>
      withGradient([input], (x: Tensor2D) => {
        const centred = sub(x, mean(x, 1, true));
        const inverseDeviation = rsqrt(add(mean(square(centred), 1, true), epsilon));
        const normalised: Tensor2D = mul(centred, inverseDeviation);
        return {
          value: add(mul(normalised, gain), bias) as Tensor2D,
          saved: [normalised, inverseDeviation],
          backward: (upstream: Tensor2D, saved) => {
            const [kept, scale] = saved as [Tensor2D, Tensor2D];
            const g: Tensor2D = mul(upstream, gain);
            const alongNormalised = mul(kept, mean(mul(g, kept), 1, true));
            return [mul(sub(sub(g, mean(g, 1, true)), alongNormalised), scale)];
          },
        };
      }),
    dispose: () => {
      gain.dispose();
      bias.dispose();
    },
  };
}
