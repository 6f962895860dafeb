/**
 * Invertible adapters (Pfeiffer 2020b, MAD-X, section 4.2): a trained bijection of what enters the first layer, whose inverse stands before
 * the output matrix of the language-model head, so that one adapter translates both ends of a language. States are halves x1, x2
 * `[batch, sequence, hidden / 2]`:
 *
 * - `nice` (Dinh 2015, section 3): y1 = x1 + F(x2), y2 = x2 + G(y1), as AdapterHub has it.
 * - `glow` (affine; Dinh 2017, equation 8): y1 = e(s2) ∘ x1 + t2 with (s2, t2) = F(x2), y2 = e(s1) ∘ x2 + t1 with (s1, t1) = G(y1), where
 *   e(s) = exp(5 · 0.636 atan(s / 5)) stays between e⁻⁵ and e⁵.
 *
 * F and G are W2 σ(W1 u + c1) + c2 with an inner width of half / reduction factor; W2 starts at zero, which makes both the identity.
 */
import {
  add,
  atan,
  concat,
  div,
  exp,
  mul,
  reshape,
  split,
  sub,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
} from '@tensorflow/tfjs-core';
import * as z from 'zod/mini';
import { trainableLinear } from '../compute/products.ts';
import type { BaseDescription } from '../model/base-model.ts';
import { choiceField, numberField, sectionField } from '../plan/fields.ts';
import { type ActivationName, activate, activationNames } from './activations.ts';
import { kaimingUniform, zeroValues } from './initial-values.ts';
import type { AdapterContext, AdapterMethod } from './method.ts';
import { tensorOf } from './named-tensor.ts';
import { parseSettings, refuseSettings } from './settings.ts';

/** Settings of `invertible` with defaults filled in. */
export interface InvertibleConfiguration {
  /** Which bijection. Default `nice`. */
  readonly coupling: 'nice' | 'glow';
  /** Half of the hidden size over the inner width of F and G. Default 2. */
  readonly reductionFactor: number;
  /** σ. Default `relu`. */
  readonly activation: ActivationName;
}

const schema = sectionField({
  coupling: z._default(choiceField(['nice', 'glow']), 'nice'),
  reductionFactor: z._default(numberField({ above: 0, atMost: 65_536 }), 2),
  activation: z._default(choiceField(activationNames), 'relu'),
});

type Net = 'f' | 'g';
const clamp = 5;

/** Sizes of the halves, and of what each network reads, is wide inside, and gives. */
function sizesOf({ hiddenSize }: BaseDescription, { coupling, reductionFactor }: InvertibleConfiguration) {
  const first = Math.floor(hiddenSize / 2);
  const second = hiddenSize - first;
  const terms = coupling === 'glow' ? 2 : 1;
  const net = (inSize: number, outSize: number) => {
    return { inSize, innerSize: Math.floor(inSize / reductionFactor), outSize: terms * outSize };
  };
  return { halves: [first, second], f: net(second, first), g: net(first, second) };
}

function parse(value: unknown, base: BaseDescription): InvertibleConfiguration {
  const settings = parseSettings('invertible', schema, value);
  const { f, g } = sizesOf(base, settings);
  if (Math.min(f.innerSize, g.innerSize) < 1) {
    const sentence = `must be at most ${g.inSize}, half of the hidden size, found ${settings.reductionFactor}`;
    refuseSettings('invertible', [{ path: 'reductionFactor', sentence }]);
  }
  return settings;
}

/** A network on rows `[rows, in]` → `[rows, out]`. */
function apply(net: Net, rows: Tensor2D, activation: ActivationName, context: AdapterContext): Tensor2D {
  const linear = (input: Tensor2D, part: string) =>
    trainableLinear(
      input,
      tensorOf<Tensor2D>(context, `invertible.${net}.${part}.kernel`),
      tensorOf<Tensor1D>(context, `invertible.${net}.${part}.bias`),
    );
  return linear(activate(activation, linear(rows, 'inner')), 'outer');
}

/** The change of a half that `given`, the other half, decides, and the way back. */
function couplingOf(net: Net, { coupling, activation }: InvertibleConfiguration, context: AdapterContext) {
  const parts = (given: Tensor2D) => {
    const output = apply(net, given, activation, context);
    if (coupling === 'nice') return { scale: null, shift: output };
    const [logScale, shift] = split(output, 2, 1) as [Tensor2D, Tensor2D];
    return { scale: exp(mul(atan(div(logScale, clamp)), clamp * 0.636)) as Tensor2D, shift };
  };
  return {
    forward: (half: Tensor2D, given: Tensor2D): Tensor2D => {
      const { scale, shift } = parts(given);
      return add(scale === null ? half : mul(half, scale), shift);
    },
    inverse: (half: Tensor2D, given: Tensor2D): Tensor2D => {
      const { scale, shift } = parts(given);
      const shifted: Tensor2D = sub(half, shift);
      return scale === null ? shifted : div(shifted, scale);
    },
  };
}

/** The method `invertible`. */
export const invertible: AdapterMethod<InvertibleConfiguration> = {
  name: 'invertible',
  parse,
  layout: (base, configuration) => {
    const sizes = sizesOf(base, configuration);
    const averaged = { aggregationClass: 'mean' } as const;
    return (['f', 'g'] as const).flatMap((net) => {
      const { inSize, innerSize, outSize } = sizes[net];
      return [
        { name: `invertible.${net}.inner.kernel`, shape: [inSize, innerSize], ...averaged, decays: true },
        { name: `invertible.${net}.inner.bias`, shape: [innerSize], ...averaged, decays: false },
        { name: `invertible.${net}.outer.kernel`, shape: [innerSize, outSize], ...averaged, decays: true },
        { name: `invertible.${net}.outer.bias`, shape: [outSize], ...averaged, decays: false },
      ];
    });
  },
  initialise: ({ name, shape }, _, random) =>
    name.endsWith('.inner.kernel') ? kaimingUniform(shape, shape[0]!, random) : zeroValues(shape),
  hooks: (base, configuration, context) => {
    const { halves } = sizesOf(base, configuration);
    const f = couplingOf('f', configuration, context);
    const g = couplingOf('g', configuration, context);
    const onHalves = (states: Tensor3D, change: (x1: Tensor2D, x2: Tensor2D) => [Tensor2D, Tensor2D]): Tensor3D => {
      const rows: Tensor2D = reshape(states, [-1, states.shape[2]]);
      const [x1, x2] = split(rows, halves, 1) as [Tensor2D, Tensor2D];
      return reshape(concat(change(x1, x2), 1), states.shape);
    };
    return {
      embedding: (states, mask) => ({
        mask,
        states: onHalves(states, (x1, x2) => {
          const y1 = f.forward(x1, x2);
          return [y1, g.forward(x2, y1)];
        }),
      }),
      output: (states) =>
        onHalves(states, (y1, y2) => {
          const x2 = g.inverse(y2, y1);
          return [f.inverse(y1, x2), x2];
        }),
    };
  },
};
