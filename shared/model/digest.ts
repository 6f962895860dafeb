/** The identity of a base model: what a plan names, every signature binds, and every site checks before it trains. */
import { concatBytes, toHex, utf8 } from '../core/bytes.ts';
import type { Digest } from '../core/ids.ts';
import { createHash } from '../crypto/hash.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import type { Configuration } from './configuration.ts';
import type { SafetensorsFile } from './safetensors.ts';

/**
 * SHA-256 over, in this order and with `part(x)` = length of x as u64 little-endian ‖ x:
 * `"TRIB-BASE"` ‖ part(configuration as canonical JSON) ‖ u64 number of tensors ‖ for every tensor, sorted by the UTF-16 code units of its
 * name, part(name) ‖ part(type) ‖ part(its extents as u64) ‖ part(bytes) ‖ part(`tokenizer.json`) ‖ part(`tokenizer_config.json`).
 * Weights count as tensors, not as a file, so their order in the file and its header do not matter; the tokenizer counts as bytes; a file
 * that is not there counts as empty.
 */
export function baseDigestOf(
  configuration: Configuration,
  weights: SafetensorsFile,
  tokenizer: { readonly tokenizer: Uint8Array | undefined; readonly settings: Uint8Array | undefined },
): Digest {
  const hash = createHash();
  const part = (bytes: Uint8Array) => {
    hash.update(integer(bytes.length));
    hash.update(bytes);
  };
  hash.update(utf8('TRIB-BASE'));
  part(canonicalJson(configuration));
  hash.update(integer(weights.tensors.size));
  const names = [...weights.tensors.keys()].sort((left, right) => (left < right ? -1 : 1));
  for (const name of names) {
    const { dtype, shape, bytes } = weights.tensors.get(name)!;
    part(utf8(name));
    part(utf8(dtype));
    part(concatBytes(...shape.map(integer)));
    part(bytes);
  }
  part(tokenizer.tokenizer ?? new Uint8Array());
  part(tokenizer.settings ?? new Uint8Array());
  return toHex(hash.digest()) as Digest;
}

function integer(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
