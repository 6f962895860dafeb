/**
 * How much each part of an adapter was used while it was trained: what hooks observe under the names of tensors of class `count`, added up over
 * steps. Without such tensors nothing is observed, and nothing is computed for it.
 */
import { keep, type Tensor } from '@tensorflow/tfjs-core';
import { assert } from '../core/assert.ts';
import type { AdapterLayout } from '../update/layout.ts';

/** Counts of one training. */
export interface UseCounts {
  /** Takes what hooks observe; undefined where nothing is counted. */
  readonly observe: ((name: string, value: Tensor) => void) | undefined;
  /** Reads and frees what the last step observed; `rowCount` examples were in it. */
  readonly closeStep: (rowCount: number) => Promise<void>;
  /** By tensor of class `count`: its observations per example. */
  readonly perExample: () => Map<string, Float32Array>;
  /** Frees what was observed and never read. */
  readonly dispose: () => void;
}

/** Nothing counted yet. */
export function countUses(layout: AdapterLayout): UseCounts {
  const sums = new Map<string, Float64Array>();
  for (const { name, size, aggregationClass } of layout.tensors) {
    if (aggregationClass === 'count') sums.set(name, new Float64Array(size));
  }
  let rows = 0;
  let seen: { readonly name: string; readonly value: Tensor }[] = [];
  const observe = (name: string, value: Tensor): void => {
    const sum = sums.get(name);
    if (sum === undefined) return;
    assert(value.size === sum.length, `${name} has ${sum.length} counts, observed were ${value.size}`);
    // The pass ends before anybody can wait for the numbers.
    seen.push({ name, value: keep(value.clone()) });
  };
  const dispose = (): void => {
    for (const { value } of seen) value.dispose();
    seen = [];
  };
  return {
    observe: sums.size === 0 ? undefined : observe,
    closeStep: async (rowCount) => {
      if (sums.size === 0) return;
      rows += rowCount;
      for (const { name, value } of seen) {
        const sum = sums.get(name)!;
        for (const [index, uses] of (await value.data()).entries()) sum[index]! += uses;
      }
      dispose();
    },
    perExample: () =>
      new Map([...sums].map(([name, sum]) => [name, Float32Array.from(sum, (uses) => (rows === 0 ? 0 : uses / rows))])),
    dispose,
  };
}
