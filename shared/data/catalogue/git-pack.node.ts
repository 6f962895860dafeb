/** Reads packs of git (gitformat-pack): whole objects and deltas against bases that are named by their ids. */
import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { errorMessage, FormatError } from '../../core/errors.ts';

/** Bytes of a pack, and of one object: the commit and the trees of a repository of 100,000 files have about 5 million. */
export const packBytesMax = 64 * 1024 * 1024;
/** Bytes of an object id. */
export const idBytes = 20;

/** What an object can be. */
export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';
const types: Readonly<Record<number, ObjectType>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' };
const deltaByOffset = 6;
const deltaById = 7;

/** An object: what it is and what it holds. */
export interface GitObject {
  readonly type: ObjectType;
  readonly bytes: Uint8Array;
}

interface Delta {
  readonly base: string;
  readonly bytes: Uint8Array;
}

/**
 * The objects of a pack by their ids, which are counted here and not taken from anywhere.
 * @throws FormatError `bad-git-objects` when the pack is damaged, or a delta names a base that is not in it.
 */
export function objectsOf(pack: Uint8Array): ReadonlyMap<string, GitObject> {
  const view = new DataView(pack.buffer, pack.byteOffset, pack.byteLength);
  if (pack.length < 12 || latin1(pack.subarray(0, 4)) !== 'PACK' || view.getUint32(4) !== 2)
    throw badObjects('it is no pack');
  const objects = new Map<string, GitObject>();
  const deltas: Delta[] = [];
  const keep = (object: GitObject): void => void objects.set(idOf(object), object);
  let at = 12;
  for (let count = view.getUint32(8); count > 0; count--) {
    const kind = ((pack[at] ?? 0) >> 4) & 7;
    // The size that follows in groups of seven bits is known from the data.
    while ((pack[at++] ?? 0) & 0x80);
    let base = '';
    if (kind === deltaById) {
      base = hex(pack.subarray(at, at + idBytes));
      at += idBytes;
    }
    const { bytes, end } = inflateAt(pack, at);
    at = end;
    const type = types[kind];
    if (kind === deltaByOffset || (type === undefined && kind !== deltaById))
      throw badObjects(`an object is of kind ${kind}`);
    if (type === undefined) deltas.push({ base, bytes });
    else keep({ type, bytes });
  }
  resolveDeltas(deltas, objects, keep);
  return objects;
}

/** A base may itself be a delta: goes on as long as one more is resolved. */
function resolveDeltas(
  deltas: readonly Delta[],
  objects: ReadonlyMap<string, GitObject>,
  keep: (object: GitObject) => void,
): void {
  for (let open = deltas; open.length > 0; ) {
    const unresolved = open.filter(({ base, bytes }) => {
      const found = objects.get(base);
      if (found !== undefined) keep({ type: found.type, bytes: applyDelta(found.bytes, bytes) });
      return found === undefined;
    });
    if (unresolved.length === open.length) throw badObjects('the base of an object is missing');
    open = unresolved;
  }
}

function inflateAt(pack: Uint8Array, at: number): { readonly bytes: Uint8Array; readonly end: number } {
  try {
    const { buffer, engine } = inflateSync(pack.subarray(at), {
      info: true,
      maxOutputLength: packBytesMax,
    }) as unknown as {
      readonly buffer: Uint8Array;
      readonly engine: { readonly bytesWritten: number };
    };
    return { bytes: buffer, end: at + engine.bytesWritten };
  } catch (cause) {
    throw badObjects(`an object cannot be unpacked (${errorMessage(cause)})`);
  }
}

/** Copies from the base and insertions (gitformat-pack, "Deltified representation"). */
function applyDelta(base: Uint8Array, delta: Uint8Array): Uint8Array {
  let at = 0;
  const size = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = delta[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
  };
  const [baseSize, resultSize] = [size(), size()];
  if (baseSize !== base.length || resultSize > packBytesMax) throw badObjects('a delta does not fit its base');
  const result = new Uint8Array(resultSize);
  let done = 0;
  while (at < delta.length) {
    const command = delta[at++]!;
    let [offset, length] = [0, command];
    if ((command & 0x80) !== 0) {
      length = 0;
      for (let bit = 0; bit < 4; bit++) if (command & (1 << bit)) offset += delta[at++]! * 2 ** (8 * bit);
      for (let bit = 0; bit < 3; bit++) if (command & (0x10 << bit)) length += delta[at++]! * 2 ** (8 * bit);
      if (length === 0) length = 0x10000;
    }
    const source = (command & 0x80) === 0 ? delta.subarray(at, at + length) : base.subarray(offset, offset + length);
    if ((command & 0x80) === 0) at += length;
    if (source.length !== length || length === 0 || done + length > resultSize) throw badObjects('a delta is damaged');
    result.set(source, done);
    done += length;
  }
  if (done !== resultSize) throw badObjects('a delta is cut');
  return result;
}

function idOf({ type, bytes }: GitObject): string {
  return createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex');
}

/** The object id that git gives a file. */
export function blobIdOf(bytes: Uint8Array): string {
  return idOf({ type: 'blob', bytes });
}

/** Bytes as text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

/** Bytes as hex digits. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The error of objects that cannot be used. */
export function badObjects(reason: string): FormatError {
  return new FormatError('bad-git-objects', `the objects of git cannot be used: ${reason}`);
}
