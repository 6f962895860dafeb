/**
 * JSON as Python's `json.dumps(..., indent=2, sort_keys=True)` writes it: sorted keys, two spaces, ASCII only, and floats that are whole
 * with their `.0`, since some readers tell a float from an integer.
 */

/** A key that no document has. */
const mark: unique symbol = Symbol('float');

/** A number that Python holds as a float. */
interface PythonFloat {
  readonly [mark]: number;
}

/** What can be written. */
export type PythonValue =
  | null
  | boolean
  | number
  | string
  | PythonFloat
  | readonly PythonValue[]
  | { readonly [key: string]: PythonValue };

/** Marks a number as a float. */
export function pythonFloat(float: number): PythonFloat {
  return { [mark]: float };
}

function isFloat(value: object): value is PythonFloat {
  return mark in value;
}

/** ASCII text of a string, with escapes for everything else. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The document; no line break at its end, as Python has none. */
export function pythonJson(value: PythonValue, indent = ''): string {
  if (typeof value === 'string') return quoted(value);
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isFloat(value)) {
    const float = value[mark];
    return Number.isInteger(float) ? float.toFixed(1) : JSON.stringify(float);
  }
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    const items = (value as readonly PythonValue[]).map((item) => `${inner}${pythonJson(item, inner)}`);
    return `[\n${items.join(',\n')}\n${indent}]`;
  }
  const entries = Object.entries(value as { readonly [key: string]: PythonValue });
  if (entries.length === 0) return '{}';
  entries.sort(([left], [right]) => (left < right ? -1 : 1));
  const fields = entries.map(([key, field]) => `${inner}${quoted(key)}: ${pythonJson(field, inner)}`);
  return `{\n${fields.join(',\n')}\n${indent}}`;
}
