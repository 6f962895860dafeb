/**
 * Which experts of a mixture take which tokens, and the losses that keep routers sound. Pure: probabilities in, decisions out.
 *
 * Every token goes to the k experts with the highest probability, of equal ones to the first. With a capacity C each expert takes at most C
 * tokens of a group (a text), all first choices in the order of positions before all second ones (Fedus 2022, section 2.2; Lepikhin 2021,
 * algorithm 1, without its random dispatch); what overflows goes on along the residual path. A text is a group of its own so that its
 * result does not depend on the texts beside it.
 */
import {
  add,
  div,
  exp,
  log,
  max,
  mean,
  mul,
  square,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
  tensor2d,
} from '@tensorflow/tfjs-core';
import { withGradient } from '../compute/custom-gradient.ts';

/** What {@link dispatchTokens} needs. */
export interface RoutingOptions {
  /** Router probabilities `[tokens, experts]`. */
  readonly probabilities: Float32Array;
  readonly expertCount: number;
  /** k. */
  readonly choices: number;
  /** The text of every token, counted from 0; tokens of a text stand together, in the order of positions. */
  readonly groups: readonly number[];
  /** C for a group of `tokenCount` tokens; infinite for none. */
  readonly capacityOf: (tokenCount: number) => number;
}

/** Who computes what. */
export interface Dispatch {
  /** By expert: its tokens, ascending. */
  readonly tokens: readonly (readonly number[])[];
  /** `[tokens, experts]`: 1 where an expert is among the k, also where the token overflowed. */
  readonly chosen: Float32Array;
  /** Choices that overflowed. */
  readonly droppedCount: number;
}

/** Chooses experts and fills them up. Cost O(tokens · experts · k). */
export function dispatchTokens(options: RoutingOptions): Dispatch {
  const { probabilities, expertCount, choices, groups, capacityOf } = options;
  const tokenCount = groups.length;
  const chosen = new Float32Array(tokenCount * expertCount);
  const taken: number[][] = Array.from({ length: expertCount }, () => []);
  const sizes = countsOf(groups);
  const load = sizes.map(() => new Uint32Array(expertCount));
  let droppedCount = 0;
  for (let turn = 0; turn < choices; turn++) {
    for (const [token, group] of groups.entries()) {
      const expert = bestOf(probabilities, chosen, token * expertCount, expertCount);
      chosen[token * expertCount + expert] = 1;
      if (load[group]![expert]! < capacityOf(sizes[group]!)) {
        load[group]![expert]! += 1;
        taken[expert]!.push(token);
      } else droppedCount += 1;
    }
  }
  for (const own of taken) own.sort((left, right) => left - right);
  return { tokens: taken, chosen, droppedCount };
}

function countsOf(groups: readonly number[]): number[] {
  const counts: number[] = [];
  for (const group of groups) counts[group] = (counts[group] ?? 0) + 1;
  return counts;
}

/** The most probable expert of a row that was not chosen before. */
function bestOf(probabilities: Float32Array, chosen: Float32Array, start: number, expertCount: number): number {
  let best = -1;
  for (let expert = 0; expert < expertCount; expert++) {
    if (chosen[start + expert] !== 0) continue;
    if (best === -1 || probabilities[start + expert]! > probabilities[start + best]!) best = expert;
  }
  return best;
}

/**
 * The loss that balances experts (Fedus 2022, equation 4): E Σ_e f_e P_e, the mean over groups. f_e is the share of a group's k · tokens choices
 * that fall on e, before capacity and without a gradient, P_e the mean probability of e. Uniform routing gives 1.
 */
export function balanceLoss(
  probabilities: Tensor2D,
  { chosen }: Pick<Dispatch, 'chosen'>,
  { expertCount, choices, groups }: Pick<RoutingOptions, 'expertCount' | 'choices' | 'groups'>,
): Tensor1D {
  const sizes = countsOf(groups);
  const groupCount = sizes.filter((size) => size > 0).length;
  const counts = new Float64Array(sizes.length * expertCount);
  for (let token = 0; token < groups.length; token++) {
    const [from, to] = [token * expertCount, groups[token]! * expertCount];
    for (let expert = 0; expert < expertCount; expert++) counts[to + expert]! += chosen[from + expert]!;
  }
  const weights = new Float32Array(chosen.length);
  for (let token = 0; token < groups.length; token++) {
    const group = groups[token]!;
    const factor = expertCount / (groupCount * choices * sizes[group]! ** 2);
    for (let expert = 0; expert < expertCount; expert++)
      weights[token * expertCount + expert] = counts[group * expertCount + expert]! * factor;
  }
  return sum(mul(probabilities, tensor2d(weights, probabilities.shape)));
}

/**
 * The loss that keeps logits `[tokens, experts]` small (Zoph 2022, equation 5): the mean of l² with l = log Σ exp. Its gradient is 2 l softmax over the
 * number of tokens; the largest logit, which keeps exp finite, has no part in it.
 */
export function routerLoss(logits: Tensor2D): Tensor1D {
  return withGradient([logits], (input: Tensor2D) => {
    const largest = max(input, 1, true);
    const powers = exp(sub(input, largest));
    const total = sum(powers, 1, true);
    const level = add(largest, log(total));
    return {
      value: mean(square(level)),
      saved: [powers, total, level],
      backward: (upstream: Tensor1D, saved) => {
        const [kept, sums, levels] = saved as [Tensor2D, Tensor2D, Tensor2D];
        return [mul(kept, mul(div(levels, sums), mul(upstream, 2 / kept.shape[0])))];
      },
    };
  });
}
