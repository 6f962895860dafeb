/**
 * SwiGLU (Shazeer 2020): silu(a) ∘ b with silu(a) = a σ(a), the inner activation of gated feed-forwards.
 * Backward: da = dy ∘ b ∘ σ(a) (1 + a (1 − σ(a))); db = dy ∘ silu(a).
 */
import { add, mul, sigmoid, sub, type Tensor } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import { hasFused, runFused } from './native/fused-names.ts';

/** silu(gate) ∘ up, of equal shapes; gradients reach both. */
export function gatedSilu<Input extends Tensor>(gate: Input, up: Input): Input {
  if (hasFused('gatedSilu', gate.size)) return wholeGatedSilu(gate, up);
  return withGradient([gate, up], (a: Tensor, b: Tensor) => {
    const opened = sigmoid(a);
    return {
      value: mul(mul(a, opened), b),
      saved: [a, b, opened],
      backward: (upstream: Tensor, saved) => {
        const [keptGate, keptUp, open] = saved as [Tensor, Tensor, Tensor];
        const byOpen = mul(upstream, open);
        const slope = add(mul(keptGate, sub(1, open)), 1);
        return [mul(mul(byOpen, keptUp), slope), mul(byOpen, keptGate)];
      },
    };
  }) as Input;
}

function wholeGatedSilu<Input extends Tensor>(gate: Input, up: Input): Input {
  return withGradient([gate, up], (a: Tensor, b: Tensor) => ({
    value: runFused('gatedSilu', { gate: a, up: b })[0]!,
    saved: [a, b],
    backward: (upstream: Tensor, saved) => runFused('gatedSiluGradient', { gate: saved[0]!, up: saved[1]!, upstream }),
  })) as Input;
}
