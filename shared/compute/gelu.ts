/** GELU (Hendrycks 2016) in its two published forms, with their gradients. */
import { add, erf, exp, mul, sigmoid, square, sub, type Tensor } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';

/** x Φ(x) with the normal distribution function Φ: the form of BERT, `gelu`. */
export function geluErf<Input extends Tensor>(input: Input): Input {
  return withGradient([input], (x: Tensor) => {
    const distribution = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
    return {
      value: mul(x, distribution),
      saved: [x, distribution],
      backward: (upstream: Tensor, saved) => {
        const [keptInput, keptDistribution] = saved as [Tensor, Tensor];
        const density = mul(exp(mul(square(keptInput), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return [mul(upstream, add(keptDistribution, mul(keptInput, density)))];
      },
    };
  }) as Input;
}

const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³))): the form of GPT-2, `gelu_new`. Computed as x σ(2 u), which is the same and cheaper. */
export function geluTanh<Input extends Tensor>(input: Input): Input {
  return withGradient([input], (x: Tensor) => {
    const argument = mul(x, add(mul(square(x), 2 * tanhScale * tanhCubic), 2 * tanhScale));
    const gate = sigmoid(argument);
    return {
      value: mul(x, gate),
      saved: [x, gate],
      backward: (upstream: Tensor, saved) => {
        const [keptInput, keptGate] = saved as [Tensor, Tensor];
        const slope = add(mul(square(keptInput), 6 * tanhScale * tanhCubic), 2 * tanhScale);
        const gateSlope = mul(mul(keptGate, sub(1, keptGate)), slope);
        return [mul(upstream, add(keptGate, mul(keptInput, gateSlope)))];
      },
    };
  }) as Input;
}
