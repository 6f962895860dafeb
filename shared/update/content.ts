/**
 * Names what an adapter computes with, apart from any head: the member of a composition has the content of the adapter that it was made from. A
 * plan that names the content of frozen members binds their values by its own hash, and every client checks what it is given against it.
 */
import { bytesOf, fromHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { digestOf } from '../crypto/hash.ts';
import { encodeCanonical, u32 } from '../protocol/canonical.ts';
import { list, structure, text } from '../protocol/canonical-compound.ts';
import type { AdapterLayout } from './layout.ts';

const digestPrefix = utf8('TRIB-CONTENT');
/** Far beyond any adapter. */
const [tensorsMax, dimensionsMax] = [100_000, 8];
const tensorsFormat = list(structure({ name: text(1024), shape: list(u32, dimensionsMax) }), tensorsMax);

/** Values of an adapter on a base. */
export interface AdapterValues {
  readonly baseDigest: Digest;
  readonly layout: AdapterLayout;
  /** `[layout.dim]`. */
  readonly values: Float32Array;
}

/**
 * SHA-256 of `"TRIB-CONTENT"`, the base digest, the canonical list of names and shapes, and the values as float32 little-endian.
 * @param place ids of members from the outside in, each with a dot behind it: the content of that member, under the names that it has alone. Left
 * out: of the whole.
 */
export function contentOf({ baseDigest, layout, values }: AdapterValues, place = ''): Digest {
  const own = layout.tensors.filter(({ name }) => (place === '' ? !isOfHead(name) : name.startsWith(place)));
  const named = own.map(({ name, shape }) => ({ name: name.slice(place.length), shape }));
  const parts = own.map(({ offset, size }) => bytesOf(values.subarray(offset, offset + size)));
  return digestOf(digestPrefix, fromHex(baseDigest), encodeCanonical(tensorsFormat, named), ...parts);
}

function isOfHead(name: string): boolean {
  return name.startsWith('head.') || name.startsWith('heads.');
}

/** A member whose values are not those that a configuration names. */
export interface ContentFault {
  /** Of the field in the plan. */
  readonly path: string;
  readonly member: string;
  readonly expected: Digest;
  readonly found: Digest;
}

/** What {@link contentFaultOf} compares beside the field `content`. */
export interface ContentCheck extends AdapterValues {
  /** Also members that are trained: true of what training starts from. */
  readonly isStart?: boolean;
  /** Contents of versions by model hash, for members that are the adapter of one; a version that is not there is not compared. */
  readonly contentOfVersion?: ReadonlyMap<string, Digest>;
}

/** The first member of a configuration whose values have another content than it says, or null. */
export function contentFaultOf(adapter: Readonly<Record<string, unknown>>, check: ContentCheck): ContentFault | null {
  return faultBelow(adapter, check, { path: 'adapter', place: '' });
}

type Configuration = Readonly<Record<string, unknown>>;

function faultBelow(
  { members }: Configuration,
  check: ContentCheck,
  { path, place }: { readonly path: string; readonly place: string },
): ContentFault | null {
  if (!Array.isArray(members)) return null;
  const { layout, isStart = false, contentOfVersion } = check;
  for (const [index, member] of (members as readonly Configuration[]).entries()) {
    const { id, content, version } = member;
    const own = { path: `${path}.members[${index}]`, place: `${place}${String(id)}.` };
    const tensors = layout.tensors.filter(({ name }) => name.startsWith(own.place));
    const isHeld = isStart || tensors.every(({ aggregationClass }) => aggregationClass === 'frozen');
    const expected = isHeld ? (content ?? contentOfVersion?.get(String(version))) : undefined;
    if (expected !== undefined) {
      const found = contentOf(check, own.place);
      const field = content === undefined ? 'version' : 'content';
      if (found !== expected)
        return { path: `${own.path}.${field}`, member: String(id), expected: expected as Digest, found };
    }
    const inner = faultBelow(member, check, own);
    if (inner !== null) return inner;
  }
  return null;
}
