/**
 * Frozen layer norm (Ba 2016): y = x̂ ∘ γ + β with x̂ = (x − mean) / √(variance + ε) over the last axis.
 * Backward, with g = γ ∘ dy: dx = (g − mean(g) − x̂ ∘ mean(g ∘ x̂)) / √(variance + ε).
 */
import { add, mean, mul, rsqrt, square, sub, type Tensor1D, type Tensor2D } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import { hasFused, runFused } from './native/fused-names.ts';

/** A frozen norm over the last axis. */
export interface FrozenNorm {
  /**
   * `[rows, size]` → `[rows, size]`; only `input` gets a gradient, and what of `changed` stands in for the frozen gain and bias.
   */
  apply(input: Tensor2D, changed?: ChangedNorm): Tensor2D;
  /** γ `[size]`, borrowed. */
  readonly gain: Tensor1D;
  /** β `[size]`, borrowed, or null for none. */
  readonly bias: Tensor1D | null;
  /** Frees gain and bias. */
  dispose(): void;
}

/** Trainable tensors in place of a norm's own. */
export interface ChangedNorm {
  readonly gain?: Tensor1D | undefined;
  readonly bias?: Tensor1D | undefined;
}

/** A frozen layer norm with gain γ `[size]`, bias β `[size]` and ε. Takes over both tensors. */
export function frozenNorm(gain: Tensor1D, bias: Tensor1D, epsilon: number): FrozenNorm {
  return {
    gain,
    bias,
    apply: (input, changed) =>
      changed === undefined
        ? normalise(input, epsilon, { gain, bias })
        : add(mul(normalise(input, epsilon, null), changed.gain ?? gain), changed.bias ?? bias),
    dispose: () => {
      gain.dispose();
      bias.dispose();
    },
  };
}

/** x̂, or x̂ ∘ γ + β where both are given. */
function normalise(
  input: Tensor2D,
  epsilon: number,
  frozen: { readonly gain: Tensor1D; readonly bias: Tensor1D } | null,
): Tensor2D {
  if (frozen !== null && hasFused('layerNorm', input.shape[1])) return wholeNorm(input, epsilon, frozen);
  return withGradient([input], (x: Tensor2D) => {
    const centred = sub(x, mean(x, 1, true));
    const inverseDeviation = rsqrt(add(mean(square(centred), 1, true), epsilon));
    const normalised: Tensor2D = mul(centred, inverseDeviation);
    return {
      value: frozen === null ? normalised : (add(mul(normalised, frozen.gain), frozen.bias) as Tensor2D),
      saved: [normalised, inverseDeviation],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, scale] = saved as [Tensor2D, Tensor2D];
        const g: Tensor2D = frozen === null ? upstream : mul(upstream, frozen.gain);
        const alongNormalised = mul(kept, mean(mul(g, kept), 1, true));
        return [mul(sub(sub(g, mean(g, 1, true)), alongNormalised), scale)];
      },
    };
  });
}

function wholeNorm(
  input: Tensor2D,
  epsilon: number,
  { gain, bias }: { readonly gain: Tensor1D; readonly bias: Tensor1D },
): Tensor2D {
  return withGradient([input], (x: Tensor2D) => {
    const [value, mean, inverse] = runFused('layerNorm', { x, gain, bias }, { epsilon }) as [
      Tensor2D,
      Tensor1D,
      Tensor1D,
    ];
    return {
      value,
      saved: [x, mean, inverse],
      backward: (upstream: Tensor2D, saved) => {
        const [kept, keptMean, keptInverse] = saved as [Tensor2D, Tensor1D, Tensor1D];
        return runFused('layerNormGradient', { x: kept, gain, upstream, mean: keptMean, inverse: keptInverse });
      },
    };
  });
}
