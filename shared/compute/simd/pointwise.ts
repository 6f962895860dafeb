/** Activations and their gradients, four values at a time. Every kernel takes addresses and a count of at least four values. */
import {
  type Code,
  type Frame,
  type FunctionSpecification,
  i32,
  type Local,
  multiplyAdd,
  v128,
  whileLoop,
} from './assembler.ts';

/** Numbers from here on are whole, the lowest bits of the mantissa are the number's own: adding it rounds (1.5 · 2^23). */
const wholeFrom = 12_582_912;

/**
 * exp(t) = 2^k e^f with k = round(t / ln 2) and a polynomial of degree 6 for e^f on ±ln 2 / 2 (Cephes, `expf`), off by two units in the last
 * place. Beyond ±87 the value at that bound; not a number stays what it is.
 */
export function exponential(
  frame: Frame,
  relaxed: boolean,
): (t: Code) => { readonly before: Code; readonly value: Code } {
  const fused = multiplyAdd(relaxed);
  const { constant } = frame;
  const [shifted, power, rest] = [frame.local('v128'), frame.local('v128'), frame.local('v128')];
  const coefficients = [1.98756915e-4, 1.39819995e-3, 8.33345191e-3, 4.16657959e-2, 1.66666655e-1, 5.00000012e-1];
  return (t) => {
    const bounded = v128.higher(v128.lower(t, constant(87)), constant(-87));
    const [first, ...others] = coefficients.map(constant) as [Code, ...Code[]];
    const polynomial = others.reduce((sum, coefficient) => fused(sum, rest.get, coefficient), first);
    return {
      before: [
        ...rest.set(bounded),
        ...shifted.set(fused(rest.get, constant(Math.LOG2E), constant(wholeFrom))),
        ...power.set(v128.subtract(shifted.get, constant(wholeFrom))),
        ...rest.set(fused(power.get, constant(-0.693359375), rest.get)),
        ...rest.set(fused(power.get, constant(2.1219444e-4), rest.get)),
      ],
      value: v128.multiply(
        v128.add(fused(polynomial, v128.multiply(rest.get, rest.get), rest.get), constant(1)),
        v128.addBits(v128.shiftBitsLeft(shifted.get, 23), constant(1)),
      ),
    };
  };
}

/** Runs `compute` over `count` values; the last four are computed once more where the count is no multiple of four. Addresses are moved. */
function overValues(
  frame: Frame,
  count: Local,
  { inputs, outputs }: { readonly inputs: readonly Local[]; readonly outputs: readonly Local[] },
  compute: (values: readonly Local[]) => { readonly before: Code; readonly values: readonly Code[] },
): Code {
  const addresses = [...inputs, ...outputs];
  const values = inputs.map(() => frame.local('v128'));
  const { before, values: results } = compute(values);
  const found = results.map(() => frame.local('v128'));
  const back = i32.shiftLeft(i32.subtract(count.get, i32.constant(4)), 2);
  const atFour = (next: number): Code => [
    ...values.flatMap((value, index) => value.set(v128.load(inputs[index]!.get))),
    ...before,
    ...found.flatMap((result, index) => result.set(results[index]!)),
    ...outputs.flatMap((output, index) => v128.store(output.get, found[index]!.get)),
    ...(next === 0 ? [] : addresses.flatMap((address) => address.move(next))),
  ];
  return [
    ...whileLoop(i32.isAtLeast(count.get, i32.constant(4)), [
      ...atFour(16),
      ...count.set(i32.subtract(count.get, i32.constant(4))),
    ]),
    // `count` is what is left now, from 0 to 3: back by what is missing to four.
    ...addresses.flatMap((address) => address.set(i32.add(address.get, back))),
    ...atFour(0),
  ];
}

/** As in `../gelu.ts`: Φ(x) ≈ σ(x P(x²)), from degree 0 up. */
const logitCoefficients = [
  1.595768432239173, 0.07266856700315266, -6.625996785696397e-5, -0.0001104803229396433, 7.938219743597468e-6,
  -2.668928697279567e-7, 3.6112339378856725e-9,
];
const tanhScale = 2 * Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** Kernels of activations; `relaxed` as {@link multiplyAdd} has it. */
export function pointwiseFunctions(relaxed: boolean): readonly FunctionSpecification[] {
  const fused = multiplyAdd(relaxed);
  /** -u, where the distribution is σ(u). */
  const minusLogit = {
    none: (x: Code, square: Code, constant: Frame['constant']): Code => {
      const [first, ...others] = logitCoefficients.toReversed().map((coefficient) => constant(-coefficient)) as [
        Code,
        ...Code[],
      ];
      return v128.multiply(
        x,
        others.reduce((sum, coefficient) => fused(sum, square, coefficient), first),
      );
    },
    tanh: (x: Code, square: Code, constant: Frame['constant']): Code =>
      v128.multiply(x, fused(square, constant(-tanhScale * tanhCubic), constant(-tanhScale))),
  };
  const gelu = (form: keyof typeof minusLogit): FunctionSpecification => ({
    name: `gelu ${form}`,
    parameters: ['i32', 'i32', 'i32'],
    body: (frame, x, y, count) => {
      const { constant } = frame;
      const square = frame.local('v128');
      const exp = exponential(frame, relaxed);
      return overValues(frame, count!, { inputs: [x!], outputs: [y!] }, ([value]) => {
        const { before, value: closed } = exp(minusLogit[form](value!.get, square.get, constant));
        return {
          before: [...square.set(v128.multiply(value!.get, value!.get)), ...before],
          values: [v128.divide(value!.get, v128.add(constant(1), closed))],
        };
      });
    },
  });
  const geluGradient = (form: keyof typeof minusLogit): FunctionSpecification => ({
    name: `gelu gradient ${form}`,
    parameters: ['i32', 'i32', 'i32', 'i32'],
    body: (frame, x, upstream, gradient, count) => {
      const { constant } = frame;
      const one = constant(1);
      const [square, open] = [frame.local('v128'), frame.local('v128')];
      const exp = exponential(frame, relaxed);
      return overValues(frame, count!, { inputs: [x!, upstream!], outputs: [gradient!] }, ([value, g]) => {
        const first = exp(minusLogit[form](value!.get, square.get, constant));
        const density = exp(v128.multiply(square.get, constant(-0.5)));
        const isExact = form === 'none';
        // φ(x), or σ (1 - σ) u'.
        const tail = isExact
          ? v128.multiply(density.value, constant(1 / Math.sqrt(2 * Math.PI)))
          : v128.multiply(
              v128.multiply(open.get, v128.subtract(one, open.get)),
              fused(square.get, constant(3 * tanhScale * tanhCubic), constant(tanhScale)),
            );
        return {
          before: [
            // Beyond, the slope is 0 or 1, and its parts would overflow.
            ...value!.set(v128.higher(v128.lower(value!.get, constant(15)), constant(-15))),
            ...square.set(v128.multiply(value!.get, value!.get)),
            ...first.before,
            ...open.set(v128.divide(one, v128.add(one, first.value))),
            ...(isExact ? density.before : []),
          ],
          values: [v128.multiply(g!.get, fused(value!.get, tail, open.get))],
        };
      });
    },
  });
  const gatedSilu: FunctionSpecification = {
    name: 'gated silu',
    parameters: ['i32', 'i32', 'i32', 'i32'],
    body: (frame, gate, up, y, count) => {
      const { constant } = frame;
      const exp = exponential(frame, relaxed);
      return overValues(frame, count!, { inputs: [gate!, up!], outputs: [y!] }, ([a, b]) => {
        const { before, value: closed } = exp(v128.subtract(constant(0), a!.get));
        return { before, values: [v128.divide(v128.multiply(a!.get, b!.get), v128.add(constant(1), closed))] };
      });
    },
  };
  const gatedSiluGradient: FunctionSpecification = {
    name: 'gated silu gradient',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    body: (frame, gate, up, upstream, gateGradient, upGradient, count) => {
      const { constant } = frame;
      const one = constant(1);
      const [open, along] = [frame.local('v128'), frame.local('v128')];
      const exp = exponential(frame, relaxed);
      const places = { inputs: [gate!, up!, upstream!], outputs: [gateGradient!, upGradient!] };
      return overValues(frame, count!, places, ([a, b, g]) => {
        const { before, value: closed } = exp(v128.subtract(constant(0), a!.get));
        const slope = fused(a!.get, v128.subtract(one, open.get), one);
        return {
          before: [
            ...before,
            ...open.set(v128.divide(one, v128.add(constant(1), closed))),
            ...along.set(v128.multiply(g!.get, open.get)),
          ],
          values: [v128.multiply(v128.multiply(along.get, b!.get), slope), v128.multiply(along.get, a!.get)],
        };
      });
    },
  };
  return [gelu('none'), gelu('tanh'), geluGradient('none'), geluGradient('tanh'), gatedSilu, gatedSiluGradient];
}
