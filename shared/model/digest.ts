/** The identity of a base model: what a plan names, every signature binds, and every site checks before it trains. */
import { concatBytes, toHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { createHash } from '../crypto/hash.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import { forEachPiece } from './byte-source.ts';
import type { Configuration } from './configuration.ts';
import type { StoredTensor } from './safetensors-header.ts';

/** One part of what is hashed: bytes, or those of a tensor where they lie. */
export type DigestPart = Uint8Array | StoredTensor;

/**
 * What the digest of a base is the SHA-256 of, in this order and with `part(x)` = length of x as u64 little-endian ‖ x:
 * `"TRIB-BASE"` ‖ part(configuration as canonical JSON) ‖ u64 number of tensors ‖ for every tensor, sorted by the UTF-16 code units of its
 * name, part(name) ‖ part(type) ‖ part(its extents as u64) ‖ part(bytes) ‖ part(`tokenizer.json`) ‖ part(`tokenizer_config.json`).
 * Weights count as tensors, not as files, so shards, the order of tensors and the headers do not matter; the tokenizer counts as bytes; a
 * file that is not there counts as empty.
 */
export function digestPartsOf(
  configuration: Configuration,
  tensors: ReadonlyMap<string, StoredTensor>,
  tokenizer: { readonly tokenizer: Uint8Array | undefined; readonly settings: Uint8Array | undefined },
): DigestPart[] {
  const parts: DigestPart[] = [];
  let pending: Uint8Array[] = [];
  const part = (bytes: Uint8Array): void => void pending.push(integer(bytes.length), bytes);
  pending.push(utf8('TRIB-BASE'));
  part(canonicalJson(configuration));
  pending.push(integer(tensors.size));
  const names = [...tensors.keys()].sort((left, right) => (left < right ? -1 : 1));
  for (const name of names) {
    const tensor = tensors.get(name)!;
    part(utf8(name));
    part(utf8(tensor.dtype));
    part(concatBytes(...tensor.shape.map(integer)));
    parts.push(concatBytes(...pending, integer(tensor.byteCount)), tensor);
    pending = [];
  }
  part(tokenizer.tokenizer ?? new Uint8Array());
  part(tokenizer.settings ?? new Uint8Array());
  return [...parts, concatBytes(...pending)];
}

/** The digest, reading every byte. @throws what the sources of tensors throw. */
export function hashParts(parts: readonly DigestPart[]): Digest {
  const hash = createHash();
  for (const part of parts) {
    if (part instanceof Uint8Array) hash.update(part);
    else forEachPiece({ ...part, length: part.byteCount }, 1, (piece) => void hash.update(piece));
  }
  return toHex(hash.digest()) as Digest;
}

function integer(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
