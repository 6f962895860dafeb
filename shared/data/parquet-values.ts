/**
 * From the values that a Parquet decoder gives to those that JSON has: 64-bit integers to numbers, dates to ISO 8601, class indices to class names
 * where the file says what they are called (`datasets` of Hugging Face writes the names beside the schema).
 */

/** What is known of a column beyond its type: names of classes, within lists and structures. */
export type Feature =
  | { readonly kind: 'classes'; readonly names: readonly string[] }
  | { readonly kind: 'list'; readonly item: Feature }
  | { readonly kind: 'structure'; readonly fields: ReadonlyMap<string, Feature> };

/** Thrown for a value that no record may hold; the message says why. */
export class ParquetValueError extends Error {
  override readonly name = 'ParquetValueError';
}

/** A text whose bytes are not UTF-8, as a marker: it makes its row bad, not its row group. */
export const brokenText = Symbol('text that is not UTF-8');

/**
 * Features by column from the value of the key `huggingface` of a file's metadata; empty for anything that is none. Sequences of structures are
 * stored as structures of sequences, as that library does.
 */
export function parseFeatures(metadata: string | undefined): ReadonlyMap<string, Feature> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(metadata ?? 'null');
  } catch {
    return new Map();
  }
  return fieldsOf(member(member(parsed, 'info'), 'features'));
}

function fieldsOf(description: unknown): ReadonlyMap<string, Feature> {
  const fields = new Map<string, Feature>();
  if (!isObject(description)) return fields;
  for (const [name, field] of Object.entries(description)) {
    const feature = featureOf(field);
    if (feature !== null) fields.set(name, feature);
  }
  return fields;
}

function featureOf(description: unknown): Feature | null {
  if (Array.isArray(description)) return listOf(featureOf(description[0]));
  if (!isObject(description)) return null;
  const type = member(description, '_type');
  if (type === 'ClassLabel') {
    const names = member(description, 'names');
    return Array.isArray(names) && names.every((name) => typeof name === 'string') ? { kind: 'classes', names } : null;
  }
  if (type === 'Sequence' || type === 'List' || type === 'LargeList') {
    const item = featureOf(member(description, 'feature'));
    if (type !== 'Sequence' || item?.kind !== 'structure') return listOf(item);
    const fields = [...item.fields].map(([name, field]): [string, Feature] => [name, { kind: 'list', item: field }]);
    return { kind: 'structure', fields: new Map(fields) };
  }
  if (typeof type === 'string') return null;
  const fields = fieldsOf(description);
  return fields.size === 0 ? null : { kind: 'structure', fields };
}

function listOf(item: Feature | null): Feature | null {
  return item === null ? null : { kind: 'list', item };
}

/**
 * A decoded value as JSON has it; what is missing is null, and so is the class -1, which `datasets` writes for "no label". Bytes of columns that
 * are not declared as text are text if they are UTF-8 (older writers declare nothing), otherwise they stay bytes.
 * @throws ParquetValueError for whole numbers beyond 2^53, dates out of range, texts that are not UTF-8, and classes without a name.
 */
export function plainValue(value: unknown, feature: Feature | undefined): unknown {
  if (value === null || value === undefined) return null;
  if (value === brokenText) throw new ParquetValueError('a text is not UTF-8');
  if (typeof value === 'bigint') return plainValue(safeNumber(value), feature);
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new ParquetValueError('a date is out of range');
    return value.toISOString();
  }
  if (Array.isArray(value)) {
    const item = feature?.kind === 'list' ? feature.item : undefined;
    return value.map((entry) => plainValue(entry, item));
  }
  if (value instanceof Uint8Array) return textOrBytes(value);
  if (isObject(value)) {
    const fields = feature?.kind === 'structure' ? feature.fields : undefined;
    return Object.fromEntries(
      Object.entries(value).map(([name, entry]) => [name, plainValue(entry, fields?.get(name))]),
    );
  }
  return feature?.kind === 'classes' && typeof value === 'number' ? className(value, feature.names) : value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What bytes are, by themselves: the rows of a dictionary's entry share them, and the work of reading them. */
const decoded = new WeakMap<Uint8Array, string | Uint8Array>();

function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  const known = decoded.get(bytes);
  if (known !== undefined) return known;
  let value: string | Uint8Array = bytes;
  try {
    value = utf8.decode(bytes);
  } catch {
    // It stays bytes.
  }
  decoded.set(bytes, value);
  return value;
}

function className(index: number, names: readonly string[]): string | null {
  if (index === -1) return null;
  const name = names[index];
  if (name === undefined) throw new ParquetValueError(`a class is ${index}, the file names ${names.length} classes`);
  return name;
}

function safeNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ParquetValueError('a whole number is beyond 2^53, where numbers are no longer exact');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function member(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}
