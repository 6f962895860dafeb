/** Seeded changes of valid bytes and values, as fuzzing needs them: small ones that reach deep, and large ones that reach far. */
import type { SeededRandom } from '../../shared/core/random.ts';

const telling = [0, 1, 0x7f, 0x80, 0xff];

/** `bytes` after one to four changes: bits, telling bytes, words at their ends, pieces cut, repeated, moved or taken from `other`. */
export function mutateBytes(bytes: Uint8Array, other: Uint8Array, random: SeededRandom): Uint8Array {
  let changed = Uint8Array.from(bytes);
  for (let count = 1 + random.integer(4); count > 0; count--) {
    const at = random.integer(changed.length + 1);
    const length = random.integer(Math.min(64, changed.length - at) + 1);
    const [head, piece, tail] = [
      changed.subarray(0, at),
      changed.subarray(at, at + length),
      changed.subarray(at + length),
    ];
    switch (random.integer(7)) {
      case 0:
        if (at < changed.length) changed[at]! ^= 1 << random.integer(8);
        break;
      case 1:
        if (at < changed.length) changed[at] = telling[random.integer(telling.length)]!;
        break;
      case 2:
        if (at + 4 <= changed.length) changed.fill(random.integer(2) === 0 ? 255 : 0, at, at + 4);
        break;
      case 3:
        changed = join(head, tail);
        break;
      case 4:
        changed = join(head, piece, piece, tail);
        break;
      case 5: {
        const from = random.integer(other.length + 1);
        changed = join(head, other.subarray(from, from + length), tail);
        break;
      }
      default:
        changed = changed.slice(0, at);
    }
  }
  return changed;
}

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

const oddValues: readonly unknown[] = [
  null,
  undefined,
  true,
  -1,
  0,
  1e308,
  Number.NaN,
  '',
  '__proto__',
  [],
  {},
  [[[]]],
  2 ** 53,
  'x'.repeat(300),
];
const oddKeys = ['__proto__', 'constructor', 'prototype', 'toString', '', 'x'];

/** A copy of a JSON value in which one place is another value, missing, or has a key too many. */
export function mutateValue(value: unknown, random: SeededRandom): unknown {
  const odd = (): unknown => oddValues[random.integer(oddValues.length)];
  if (typeof value !== 'object' || value === null || random.integer(8) === 0) return odd();
  if (Array.isArray(value)) {
    const copy: unknown[] = [...value];
    const at = random.integer(copy.length + 1);
    copy[at] = mutateValue(copy[at], random);
    return copy;
  }
  const entries = Object.entries(value);
  const at = random.integer(entries.length + 1);
  if (at === entries.length || random.integer(6) === 0) {
    const key = oddKeys[random.integer(oddKeys.length)]!;
    // An own property, also where the key is __proto__.
    return Object.defineProperty({ ...value }, key, {
      value: odd(),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  if (random.integer(6) === 0) return Object.fromEntries(entries.filter((_, index) => index !== at));
  return Object.fromEntries(
    entries.map(([key, inner], index) => [key, index === at ? mutateValue(inner, random) : inner]),
  );
}
