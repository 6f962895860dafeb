/**
 * Adversarial training on word vectors: every step also trains on the batch as a small change of its word vectors makes it worst. With L the
 * loss, θ what is trained and r the change, `[batch, sequence, hidden]`, the step follows the gradient in θ of (L(θ, 0) + L(θ, r)) / 2
 * (Goodfellow 2015, section 5, with α = 1/2), where g = ∂L/∂r and norms run over each text by itself:
 *
 * - `fgm` (Miyato 2017, equation 5): r = ε g(0) / ‖g(0)‖. One more pass per step.
 * - `pgd` (Madry 2018, section 2.1, in the norm of `fgm`): K times r ← Π(r + α g(r) / ‖g(r)‖), Π the projection onto ‖r‖ ≤ ε. K more passes per step.
 *
 * The change is added in front of everything that hooks do to word vectors, and not to padding. Gradients run through the whole frozen base, so a
 * step costs more than that of an adapter in upper layers alone.
 */
import {
  abs,
  add,
  cast,
  div,
  expandDims,
  max,
  maximum,
  minimum,
  mul,
  sqrt,
  square,
  sum,
  type Tensor3D,
} from '@tensorflow/tfjs-core';
import type { SiteHooks } from '../model/base-model.ts';

/** The settings of adversarial training. */
export interface AdversarialSettings {
  readonly method: 'fgm' | 'pgd';
  /** Largest norm ε of the change of one text's word vectors, above 0. */
  readonly radius: number;
  /** `pgd`: steps K, at least 1; default 3. */
  readonly steps?: number | undefined;
  /** `pgd`: length α of a step, above 0; default 2.5 ε / K, with which K steps reach every point of the ball (Madry 2018, appendix). */
  readonly stepSize?: number | undefined;
}

/** How often the change is moved and how far. */
export function ascentOf({ method, radius, steps = 3, stepSize }: AdversarialSettings): {
  readonly steps: number;
  readonly stepSize: number;
} {
  return method === 'fgm' ? { steps: 1, stepSize: radius } : { steps, stepSize: stepSize ?? (2.5 * radius) / steps };
}

/** One step up the gradient, and back into the ball: `change` and `gradient` `[batch, sequence, hidden]`. A text without a gradient stays. */
export function ascend(
  change: Tensor3D,
  gradient: Tensor3D,
  { radius, stepSize }: { readonly radius: number; readonly stepSize: number },
): Tensor3D {
  const moved: Tensor3D = add(change, mul(div(gradient, maximum(textNorms(gradient), tiny)), stepSize));
  return mul(moved, minimum(div(radius, maximum(textNorms(moved), tiny)), 1));
}

/** Smallest norm that is divided by. */
const tiny = 1e-20;

/** Norm of every text, `[batch, 1, 1]`. */
function textNorms(values: Tensor3D): Tensor3D {
  // Scaled by the largest value first, so that squares of small gradients do not vanish.
  const largest = maximum(max(abs(values), [1, 2], true), tiny);
  return mul(sqrt(sum(square(div(values, largest)), [1, 2], true)), largest);
}

/** Hooks on word vectors that were changed by `change` `[batch, sequence, hidden]`. */
export function withWordChange(hooks: SiteHooks, change: Tensor3D): SiteHooks {
  return {
    ...hooks,
    words: (states, mask) => {
      const moved: Tensor3D = add(states, mul(change, expandDims(cast(mask, 'float32'), 2)));
      return hooks.words?.(moved, mask) ?? { states: moved, mask };
    },
  };
}
