/**
 * Frozen root-mean-square norm (Zhang 2019): y = x̂ ∘ γ with x̂ = x / √(mean(x²) + ε) over the last axis.
 * Backward, with g = γ ∘ dy: dx = (g − x̂ ∘ mean(g ∘ x̂)) / √(mean(x²) + ε).
 */
import { add, mean, mul, rsqrt, square, sub, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import type { FrozenNorm } from './layer-norm.ts';
import { hasFused, runFused } from './native/fused-names.ts';

/** A frozen root-mean-square norm with gain γ `[size]` and ε. Takes over the gain. */
export function frozenRmsNorm(gain: Tensor1D, epsilon: number): FrozenNorm {
  return {
    gain,
    bias: null,
    apply: (input, changed) =>
      changed?.gain === undefined
        ? normalise(input, epsilon, gain)
        : mul(normalise(input, epsilon, null), changed.gain),
    dispose: () => gain.dispose(),
  };
}

/** x̂, or x̂ ∘ γ where γ is given. */
function normalise(input: Tensor2D, epsilon: number, gain: Tensor1D | null): Tensor2D {
  if (gain !== null && hasFused('rmsNorm', input.shape[1])) return wholeNorm(input, epsilon, gain);
  return withGradient([input], (x: Tensor2D) => {
    const scale = rsqrt(add(mean(square(x), 1, true), epsilon));
    const normalised: Tensor2D = mul(x, scale);
    return {
      value: gain === null ? normalised : (mul(normalised, gain) as Tensor2D),
      saved: [normalised, scale],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, keptScale] = saved as [Tensor2D, Tensor2D];
        const g: Tensor2D = gain === null ? upstream : mul(upstream, gain);
        return [mul(sub(g, mul(kept, mean(mul(g, kept), 1, true))), keptScale)];
      },
    };
  });
}

function wholeNorm(input: Tensor2D, epsilon: number, gain: Tensor1D): Tensor2D {
  return withGradient([input], (x: Tensor2D) => {
    const [value, inverse] = runFused('rmsNorm', { x, gain }, { epsilon }) as [Tensor2D, Tensor1D];
    return {
      value,
      saved: [x, inverse],
      backward: (upstream: Tensor2D, saved) =>
        runFused('rmsNormGradient', { x: saved[0]!, gain, upstream, inverse: saved[1]! }),
    };
  });
}
