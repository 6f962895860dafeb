/**
 * Canonical JSON: one value, one sequence of bytes, so that a digest over it means the value. Keys sorted by UTF-16 code units, no white
 * space, numbers and strings as ECMAScript prints them (the choices of RFC 8785, section 3.2); fields that are `undefined` are left out.
 */
import { utf8 } from '../core/bytes.ts';
import { UsageError } from '../core/errors.ts';

/** Nesting that is accepted: plans need four levels; the bound stops stack exhaustion by hostile input. */
const depthMax = 32;

/**
 * UTF-8 bytes of the canonical form of plain data: objects, arrays, strings, finite numbers, booleans, null.
 * @throws UsageError `not-canonical` for anything else, naming the path.
 */
export function canonicalJson(value: unknown): Uint8Array {
  return utf8(write(value, '', 0));
}

function write(value: unknown, path: string, depth: number): string {
  const fail = (what: string): never => {
    throw new UsageError(
      'not-canonical',
      `${path || 'the document'} must be plain JSON data with finite numbers, found ${what}`,
    );
  };
  if (depth > depthMax) return fail(`more than ${depthMax} levels of nesting`);
  switch (typeof value) {
    case 'string':
      return value.isWellFormed() ? JSON.stringify(value) : fail('text with half of a surrogate pair');
    case 'boolean':
      return String(value);
    case 'number':
      return Number.isFinite(value) ? JSON.stringify(value) : fail(String(value));
    case 'object': {
      if (value === null) return 'null';
      if (Array.isArray(value))
        return `[${value.map((item, index) => write(item, `${path}[${index}]`, depth + 1)).join(',')}]`;
      const prototype = Object.getPrototypeOf(value);
      if (prototype !== Object.prototype && prototype !== null) return fail('an object of a class');
      const fields = Object.entries(value).filter(([, field]) => field !== undefined);
      fields.sort(([left], [right]) => (left < right ? -1 : 1));
      const below = path === '' ? '' : `${path}.`;
      return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${write(field, below + key, depth + 1)}`).join(',')}}`;
    }
    default:
      return fail(typeof value);
  }
}
