/** What fuzzing runs: decoders with samples of what they read. */
import { strict as assert } from 'node:assert';
import * as z from 'zod/mini';
import { equalBytes } from '../../shared/core/bytes.ts';
import type { Digest, FederationId } from '../../shared/core/ids.ts';
import { engineCrypto } from '../../shared/crypto/engine.ts';
import { identityFromSeed } from '../../shared/crypto/identity.ts';
import { decodeCanonical, encodeCanonical, type Format } from '../../shared/protocol/canonical.ts';
import { decodeMessage, encodeMessage } from '../../shared/protocol/codec.ts';
import { inFolder } from '../shared/model/checkpoint-files.ts';

/** A decoder of bytes: it returns, or throws an error of the federation. */
export interface ByteTarget {
  readonly name: string;
  readonly samples: readonly Uint8Array[];
  readonly decode: (bytes: Uint8Array) => unknown;
}

/** A decoder of text: the bytes are UTF-8. */
export function textTarget(name: string, samples: readonly string[], decode: (text: string) => unknown): ByteTarget {
  const encoder = new TextEncoder();
  return {
    name,
    samples: samples.map((sample) => encoder.encode(sample)),
    decode: (bytes) => decode(new TextDecoder().decode(bytes)),
  };
}

/** A decoder of parsed JSON or YAML. */
export interface ValueTarget {
  readonly name: string;
  readonly sample: unknown;
  readonly decode: (value: unknown) => unknown;
}

/** A decoder of several files: one of them at a time is changed. */
export interface FolderTarget {
  readonly name: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly decode: (files: ReadonlyMap<string, Uint8Array>) => unknown;
}

/** A decoder that reads a folder on disk: it has a new one every time. */
export function diskTarget(
  name: string,
  files: Readonly<Record<string, Uint8Array>>,
  read: (folder: string) => unknown,
): FolderTarget {
  return { name, files: new Map(Object.entries(files)), decode: (changed) => inFolder(changed, read) };
}

/** Who signs samples. */
export const signer = identityFromSeed(new Uint8Array(32).fill(7), engineCrypto);
/** A digest of nothing. */
export const someDigest = 'ab'.repeat(32) as Digest;
/** The federation of samples. */
export const someFederation = 'cd'.repeat(32) as FederationId;

/** A canonical format: whatever it reads, it writes again byte for byte. */
export function canonicalTarget<Value>(
  name: string,
  format: Format<Value>,
  samples: readonly Uint8Array[],
): ByteTarget {
  return {
    name,
    samples,
    decode: (bytes) => {
      const decoded = decodeCanonical(format, bytes, name);
      if (decoded.ok)
        assert.ok(equalBytes(encodeCanonical(format, decoded.value), bytes), `${name}: a second encoding`);
      return decoded;
    },
  };
}

const signedFrame = z.looseObject({ body: z.instanceof(Uint8Array) });

/** A signed frame twice: as it travels, where changes meet the signature, and its body, signed again after every change. */
export function signedTargets(
  name: string,
  { type, frame, open }: { readonly type: string; readonly frame: Uint8Array; readonly open: ByteTarget['decode'] },
): ByteTarget[] {
  const decoded = decodeMessage(signedFrame, frame);
  assert.ok(decoded.ok, name);
  return [
    { name: `${name}, frame`, samples: [frame], decode: open },
    {
      name,
      samples: [decoded.value.body],
      decode: (body) => open(encodeMessage({ body, signature: signer.sign(type, body) })),
    },
  ];
}
