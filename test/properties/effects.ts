/** What adapters compute, as vectors of float64 that a weighted mean must get right, by arithmetic that shares nothing with the product's. */

/** Parameters by name. */
export type Values = ReadonlyMap<string, ArrayLike<number>>;

/** A vector whose mean over clients counts each by its weight times `use`. */
export interface Effect {
  readonly name: string;
  readonly values: readonly number[];
  readonly use: number;
}

/** One vector that all clients use alike. */
export function effectOf(name: string, values: ArrayLike<number>, use = 1): Effect[] {
  return [{ name, values: Array.from(values), use }];
}

const isCount = (name: string): boolean => name.endsWith('.uses');

/** Every parameter as it is. */
export function every(parameters: Values): Effect[] {
  return [...parameters].flatMap(([name, values]) => (isCount(name) ? [] : effectOf(name, values)));
}

/** Parameters that `pattern` finds by the use that a client made of them, all others as they are but for scales and what these scale. */
export function weighted(parameters: Values, pattern: RegExp, useOf: (match: RegExpExecArray) => number): Effect[] {
  return [...parameters].flatMap(([name, values]) => {
    const match = pattern.exec(name);
    if (isCount(name) || (/\.(scale|up\.kernel|up\.bias)$/.test(name) && match === null)) return [];
    return effectOf(name, values, match === null ? 1 : useOf(match));
  });
}

/** The mean of one effect over clients; null where nobody used it. */
export function meanOf(effects: readonly (Effect & { readonly weight: number })[]): number[] | null {
  const total = effects.reduce((sum, { weight, use }) => sum + weight * use, 0);
  if (total === 0) return null;
  return effects[0]!.values.map((_, index) =>
    effects.reduce((sum, { weight, use, values }) => sum + (weight * use * values[index]!) / total, 0),
  );
}

/** ‖found − expected‖ / ‖expected − before‖ over some vectors: how far off of what moved. */
export function distance(
  vectors: readonly {
    readonly found: readonly number[];
    readonly expected: readonly number[];
    readonly before: readonly number[];
  }[],
): number {
  let [missed, moved] = [0, 0];
  for (const { found, expected, before } of vectors)
    for (const [index, value] of expected.entries()) {
      missed += (found[index]! - value) ** 2;
      moved += (value - before[index]!) ** 2;
    }
  return moved === 0 ? Math.sqrt(missed) : Math.sqrt(missed / moved);
}
