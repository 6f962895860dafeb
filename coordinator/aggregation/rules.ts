/** The aggregation rule that a plan names, and its state as bytes. */
import { assert } from '../../shared/core/assert.ts';
import { bytesOf, concatBytes } from '../../shared/core/bytes.ts';
import { FormatError } from '../../shared/core/errors.ts';
import type { Aggregation } from '../../shared/plan/aggregation.ts';
import type { AdapterLayout } from '../../shared/update/layout.ts';
import type { AggregationRule, RuleState } from './server-optimisers.ts';
import { adaptive, compose, momentum, scale } from './server-optimisers.ts';

/** The `aggregation` part of a plan that chooses a rule. */
export interface RuleOptions {
  readonly rule: 'fedavg' | 'fedavgm' | 'fedadagrad' | 'fedadam' | 'fedyogi';
  readonly serverLearningRate: number;
  readonly momentum: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly tau: number;
}

/** The rules of a plan in a version's record: that of the server, and that for low-rank pairs where it is not plain averaging. */
export function ruleNameOf({ rule, lowRank }: Pick<Aggregation, 'rule' | 'lowRank'>): string {
  return lowRank === 'factor-avg' ? rule : `${rule}, ${lowRank}`;
}

/** What whoever takes a version away must know about parts that never leave the clients; no line where it has none. */
export function localNotes({ tensors }: AdapterLayout): string[] {
  const local = tensors.filter(({ aggregationClass }) => aggregationClass === 'local').map(({ name }) => name);
  const [first] = local;
  if (first === undefined) return [];
  const others = local.length === 1 ? '' : ` and ${local.length - 1} more`;
  return [
    `${first}${others} never leave the clients: this version holds the values that they began with, so alone it is not what any client measures or uses; a site puts its own in with: tributary personalise`,
  ];
}

/** The rule of a plan. FedAvg with a server learning rate of 1 adds the mean delta as it is (McMahan 2017, algorithm 1). */
export function ruleOf(options: RuleOptions): AggregationRule {
  const learningRate = scale(options.serverLearningRate);
  switch (options.rule) {
    case 'fedavg':
      return learningRate;
    case 'fedavgm':
      return compose(momentum(options.momentum), learningRate);
    case 'fedadagrad':
      return compose(adaptive('adagrad', options), learningRate);
    case 'fedadam':
      return compose(adaptive('adam', options), learningRate);
    case 'fedyogi':
      return compose(adaptive('yogi', options), learningRate);
    default:
      return options.rule satisfies never;
  }
}

/** The next adapter, rounded to float32 once: `start + step`. `step` is mutated by the rule, `start` is not. */
export function applyRule(
  rule: AggregationRule,
  state: RuleState,
  start: Float32Array,
  mean: Float64Array,
): Float32Array {
  assert(start.length === mean.length, 'the mean delta has the length of the adapter');
  rule.update(state, mean);
  const next = new Float32Array(start.length);
  for (let index = 0; index < next.length; index++) next[index] = start[index]! + mean[index]!;
  return next;
}

/** State as bytes: its vectors one after the other, float64 little-endian. */
export function encodeRuleState(state: RuleState): Uint8Array {
  return concatBytes(...state.map(bytesOf));
}

/** State from bytes. @throws FormatError when the bytes are not of a rule with vectors `[dim]`. */
export function decodeRuleState(rule: AggregationRule, dim: number, bytes: Uint8Array): RuleState {
  const state = rule.init(dim);
  if (bytes.length !== state.length * dim * 8) {
    const expected = `expected ${state.length} vectors of ${dim} numbers for ${rule.name}, found ${bytes.length} bytes`;
    throw new FormatError('bad-rule-state', `the server optimiser's state cannot be read: ${expected}`);
  }
  for (const [index, vector] of state.entries())
    bytesOf(vector).set(bytes.subarray(index * dim * 8, (index + 1) * dim * 8));
  return state;
}
