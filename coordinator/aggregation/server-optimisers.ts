/**
 * What the coordinator makes of the mean delta before it adds it to the adapter: values `{ name, needs, init, update }` that compose.
 * FedAdagrad, FedYogi and FedAdam are Reddi 2021, algorithm 2, as published: m and v without bias correction, v starts at tau^2, the
 * step is m / (sqrt(v) + tau). FedAvgM is Hsu 2019, section 4: the momentum buffer adds whole mean deltas.
 *
 * Notation (Reddi 2021 -> here): Delta_t -> `step` on entry; m_t, v_t -> `state`; eta -> the `scale` composed behind; x_t -> the adapter.
 */
import { assert } from '../../shared/core/assert.ts';

/** Durable numbers of a rule: vectors `[dim]`, float64, changed in place by `update`. */
export type RuleState = readonly Float64Array[];

/** One stage between the mean delta and the step that is added to the adapter. `needs: 'sum'` says that a sum of deltas is enough for it. */
export interface AggregationRule {
  readonly name: string;
  readonly needs: 'sum';
  /** State before the first round. */
  init(dim: number): RuleState;
  /** Turns the mean delta in `step` `[dim]` into the step to add; mutates `state` and `step`. */
  update(state: RuleState, step: Float64Array): void;
}

/** Multiplies the step by the server's learning rate. */
export function scale(learningRate: number): AggregationRule {
  return {
    name: `scale(${learningRate})`,
    needs: 'sum',
    init: () => [],
    update: (_state, step) => {
      if (learningRate !== 1) for (let index = 0; index < step.length; index++) step[index]! *= learningRate;
    },
  };
}

/** m <- momentum * m + mean delta; the step is m (Hsu 2019, section 4). `momentum` in [0, 1). */
export function momentum(beta: number): AggregationRule {
  return {
    name: `momentum(${beta})`,
    needs: 'sum',
    init: (dim) => [new Float64Array(dim)],
    update: ([m], step) => {
      assert(m?.length === step.length, 'momentum has the length of the step');
      for (let index = 0; index < step.length; index++) step[index] = m[index] = beta * m[index]! + step[index]!;
    },
  };
}

/** Numbers of the adaptive rules: beta1 in [0, 1), beta2 in [0, 1) (unused by Adagrad), tau > 0 controls how adaptive the rule is. */
export interface AdaptiveOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly tau: number;
}

/** The three rules of Reddi 2021, algorithm 2, which differ in how v follows the squares only. */
export function adaptive(kind: 'adagrad' | 'adam' | 'yogi', options: AdaptiveOptions): AggregationRule {
  const { beta1, beta2, tau } = options;
  const nextV = {
    adagrad: (v: number, square: number) => v + square,
    adam: (v: number, square: number) => beta2 * v + (1 - beta2) * square,
    yogi: (v: number, square: number) => v - (1 - beta2) * square * Math.sign(v - square),
  }[kind];
  return {
    name: `${kind}(${beta1}, ${beta2}, ${tau})`,
    needs: 'sum',
    init: (dim) => [new Float64Array(dim), new Float64Array(dim).fill(tau * tau)],
    update: ([m, v], step) => {
      assert(m?.length === step.length && v?.length === step.length, 'moments have the length of the step');
      for (let index = 0; index < step.length; index++) {
        const delta = step[index]!;
        m[index] = beta1 * m[index]! + (1 - beta1) * delta;
        v[index] = nextV(v[index]!, delta * delta);
        step[index] = m[index]! / (Math.sqrt(v[index]!) + tau);
      }
    },
  };
}

/** Runs rules one after the other; their states stand in the same order. */
export function compose(...rules: readonly AggregationRule[]): AggregationRule {
  const counts = rules.map((rule) => rule.init(0).length);
  return {
    name: rules.map((rule) => rule.name).join(' then '),
    needs: 'sum',
    init: (dim) => rules.flatMap((rule) => rule.init(dim)),
    update: (state, step) => {
      let from = 0;
      for (const [index, rule] of rules.entries()) {
        rule.update(state.slice(from, from + counts[index]!), step);
        from += counts[index]!;
      }
    },
  };
}
