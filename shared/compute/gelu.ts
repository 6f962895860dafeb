/** GELU (Hendrycks 2016) in its two published forms, with their gradients. */
import { add, div, mul, sigmoid, square, sub, type Tensor } from '@tensorflow/tfjs-core';
import { withGradient } from './custom-gradient.ts';
import { hasFused, runFused } from './native/fused-names.ts';

/**
 * Coefficients of P in Φ(x) ≈ σ(x P(x²)), from degree 0 up: a minimax fit of ln(Φ / (1 − Φ)) / x. In float32 x Φ(x) is off by at most 6e-7
 * and Φ by 2e-7 for every x. The leading coefficient is positive, so beyond the fitted range σ saturates as Φ does. On WebAssembly this
 * takes 3 ms for a million values, the library's `erf` 14.
 */
const logitCoefficients = [
  1.595768432239173, 0.07266856700315266, -6.625996785696397e-5, -0.0001104803229396433, 7.938219743597468e-6,
  -2.668928697279567e-7, 3.6112339378856725e-9,
];

function normalDistribution(x: Tensor): Tensor {
  const squared = square(x);
  const [leading, ...rest] = logitCoefficients.toReversed() as [number, ...number[]];
  const [next, ...lower] = rest as [number, ...number[]];
  let polynomial = add(mul(squared, leading), next);
  for (const coefficient of lower) polynomial = add(mul(polynomial, squared), coefficient);
  return sigmoid(mul(x, polynomial));
}

/** φ(x) = exp(−x²/2) / √(2π), with exp(−t) = σ(−t) / (1 − σ(−t)): WebAssembly has a fast σ and a slow exponential. */
function normalDensity(x: Tensor): Tensor {
  const gate = sigmoid(mul(square(x), -0.5));
  return div(mul(gate, 1 / Math.sqrt(2 * Math.PI)), sub(1, gate));
}

/** x Φ(x) with the normal distribution function Φ: the form of BERT, `gelu`. */
export function geluErf<Input extends Tensor>(input: Input): Input {
  if (hasFused('gelu', input.size)) return wholeGelu(input, 'none');
  return withGradient([input], (x: Tensor) => {
    const distribution = normalDistribution(x);
    return {
      value: mul(x, distribution),
      saved: [x, distribution],
      backward: (upstream: Tensor, saved) => {
        const [keptInput, keptDistribution] = saved as [Tensor, Tensor];
        return [mul(upstream, add(keptDistribution, mul(keptInput, normalDensity(keptInput))))];
      },
    };
  }) as Input;
}

const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³))): the form of GPT-2, `gelu_new`. Computed as x σ(2 u), which is the same and cheaper. */
export function geluTanh<Input extends Tensor>(input: Input): Input {
  if (hasFused('gelu', input.size)) return wholeGelu(input, 'tanh');
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

/** Either form where the back end computes it as a whole. */
function wholeGelu<Input extends Tensor>(input: Input, approximate: 'none' | 'tanh'): Input {
  return withGradient([input], (x: Tensor) => ({
    value: runFused('gelu', { x }, { approximate })[0]!,
    saved: [x],
    backward: (upstream: Tensor, saved) => runFused('geluGradient', { x: saved[0]!, upstream }, { approximate }),
  })) as Input;
}
