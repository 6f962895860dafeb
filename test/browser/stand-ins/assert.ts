/** Stands in for the strict assertions of `node:assert` in pages. */

type Expected = RegExp | ((error: unknown) => unknown) | object;

function fail(message: string): never {
  throw new Error(message);
}

function textOf(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return `bytes ${[...value.slice(0, 40)].join(' ')}`;
  if (typeof value !== 'object' || value === null) return String(value);
  return JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? `${one}n` : one))?.slice(0, 300);
}

/** Whether two values have the same prototype and the same own parts, at every depth. */
function sameParts(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
  if (left instanceof Date) return left.getTime() === (right as Date).getTime();
  if (left instanceof Error && left.message !== (right as Error).message) return false;
  if (left instanceof Map) {
    const other = right as Map<unknown, unknown>;
    return (
      left.size === other.size && [...left].every(([key, value]) => other.has(key) && sameParts(value, other.get(key)))
    );
  }
  if (left instanceof Set) return sameParts([...left], [...(right as Set<unknown>)]);
  if (left instanceof ArrayBuffer) return sameParts(new Uint8Array(left), new Uint8Array(right as ArrayBuffer));
  const keys = Reflect.ownKeys(left);
  if (keys.length !== Reflect.ownKeys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && sameParts(Reflect.get(left, key), Reflect.get(right, key)));
}

function judge(thrown: unknown, expected: Expected | undefined): void {
  if (expected === undefined || typeof expected === 'string') return;
  if (expected instanceof RegExp) {
    if (!expected.test(String(thrown))) fail(`${String(thrown)} does not match ${String(expected)}`);
  } else if (typeof expected === 'function') {
    if (expected.prototype !== undefined && thrown instanceof (expected as unknown as typeof Error)) return;
    if ((expected as (error: unknown) => unknown)(thrown) !== true) fail(`thrown was ${String(thrown)}`);
  } else {
    for (const [key, value] of Object.entries(expected)) {
      const found: unknown = Reflect.get(thrown as object, key);
      if (value instanceof RegExp ? !value.test(String(found)) : !sameParts(found, value))
        fail(`${key} is ${textOf(found)}`);
    }
  }
}

/** The assertions that tests for both places use. */
export const strict = {
  ok: (value: unknown, message = 'expected something true'): void => {
    if (!value) fail(message);
  },
  equal: (found: unknown, expected: unknown, message = ''): void => {
    if (!Object.is(found, expected)) fail(`${message} expected ${textOf(expected)}, found ${textOf(found)}`);
  },
  notEqual: (found: unknown, other: unknown, message = ''): void => {
    if (Object.is(found, other)) fail(`${message} expected another value than ${textOf(other)}`);
  },
  deepEqual: (found: unknown, expected: unknown, message = ''): void => {
    if (!sameParts(found, expected)) fail(`${message} expected ${textOf(expected)}, found ${textOf(found)}`);
  },
  notDeepEqual: (found: unknown, other: unknown, message = ''): void => {
    if (sameParts(found, other)) fail(`${message} expected another value than ${textOf(other)}`);
  },
  match: (text: string, pattern: RegExp, message = ''): void => {
    if (!pattern.test(text)) fail(`${message} ${JSON.stringify(text)} does not match ${String(pattern)}`);
  },
  throws: (act: () => unknown, expected?: Expected): void => {
    try {
      act();
    } catch (thrown) {
      judge(thrown, expected);
      return;
    }
    fail('expected an exception');
  },
  doesNotThrow: (act: () => unknown): void => {
    act();
  },
  rejects: async (work: Promise<unknown> | (() => Promise<unknown>), expected?: Expected): Promise<void> => {
    try {
      await (typeof work === 'function' ? work() : work);
    } catch (thrown) {
      judge(thrown, expected);
      return;
    }
    fail('expected a rejection');
  },
};
