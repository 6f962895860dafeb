/** Formats made of formats: text, lists, sets, what may be absent, structures. The rules stand in `canonical.ts`. */
import { assert } from '../core/assert.ts';
import { utf8 } from '../core/bytes.ts';
import type { ClientId, Digest, FederationId, SessionId } from '../core/ids.ts';
import { bytes, type Format, identifier, u32, type ValueOf } from './canonical.ts';

/** A SHA-256. */
export const digest = identifier<Digest>(32);
/** A client id. */
export const clientId = identifier<ClientId>(32);
/** A federation id. */
export const federationId = identifier<FederationId>(32);
/** A session id. */
export const sessionId = identifier<SessionId>(16);

/** UTF-8 of at most `sizeMax` bytes; ill-formed text is refused on both sides. */
export function text(sizeMax: number): Format<string> {
  const encoded = bytes(sizeMax);
  return {
    write: (writer, value) => {
      assert(value.isWellFormed(), 'canonical text has no lone surrogates');
      encoded.write(writer, utf8(value));
    },
    read: (reader) => {
      const found = encoded.read(reader);
      try {
        // A byte order mark is a character of the text like any other: removing it would give two encodings of one text.
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(found);
      } catch {
        reader.fail('expected UTF-8');
        return '';
      }
    },
  };
}

/** One of a closed list of names, as text. */
export function oneOf<const Name extends string>(names: readonly Name[]): Format<Name> {
  const name = text(64);
  return {
    write: (writer, value) => name.write(writer, value),
    read: (reader) => {
      const found = name.read(reader);
      const known = names.find((candidate) => candidate === found);
      if (known === undefined) reader.fail(`expected one of ${names.join(', ')}`);
      return known ?? names[0]!;
    },
  };
}

/** At most `countMax` items. */
export function list<Item>(item: Format<Item>, countMax: number): Format<readonly Item[]> {
  return {
    write: (writer, value) => {
      assert(value.length <= countMax, `expected at most ${countMax} items, found ${value.length}`);
      u32.write(writer, value.length);
      for (const one of value) item.write(writer, one);
    },
    read: (reader) => {
      const count = u32.read(reader);
      if (count > countMax) reader.fail(`expected at most ${countMax} items, found ${count}`);
      const items: Item[] = [];
      for (let index = 0; index < count && reader.fault === null; index++) items.push(item.read(reader));
      return items;
    },
  };
}

/** A list whose items are strictly ascending in `keyOf`, so that a set has one encoding. */
export function ascending<Item>(
  item: Format<Item>,
  countMax: number,
  keyOf: (item: Item) => string,
): Format<readonly Item[]> {
  const items = list(item, countMax);
  const isAscending = (found: readonly Item[]): boolean =>
    found.every((one, index) => index === 0 || keyOf(found[index - 1]!) < keyOf(one));
  return {
    write: (writer, value) => {
      assert(isAscending(value), 'a canonical set is strictly ascending');
      items.write(writer, value);
    },
    read: (reader) => {
      const found = items.read(reader);
      if (!isAscending(found)) reader.fail('expected strictly ascending items');
      return found;
    },
  };
}

/** What may be absent: null, or one value. Encoded as a list of at most one item. */
export function maybe<Value>(value: Format<Value>): Format<Value | null> {
  const items = list(value, 1);
  return {
    write: (writer, found) => items.write(writer, found === null ? [] : [found]),
    read: (reader) => items.read(reader)[0] ?? null,
  };
}

type Fields = Readonly<Record<string, Format<unknown>>>;

/** Fields one after the other, in the order in which they are written here. */
export function structure<const Of extends Fields>(
  fields: Of,
): Format<{ readonly [Name in keyof Of]: ValueOf<Of[Name]> }> {
  type Value = { readonly [Name in keyof Of]: ValueOf<Of[Name]> };
  const entries = Object.entries(fields);
  return {
    write: (writer, value) => {
      const given: Readonly<Record<string, unknown>> = value;
      for (const [name, format] of entries) format.write(writer, given[name]);
    },
    read: (reader) => Object.fromEntries(entries.map(([name, format]) => [name, format.read(reader)])) as Value,
  };
}
