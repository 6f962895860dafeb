/** Frozen vectors: computed by an independent program from SPEC.md, or published. They change only with the version of the protocol. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

function read(name: string): unknown {
  return JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8'));
}

/** RFC 8032, section 7.1, as hex. */
export const rfc8032 = read('ed25519-rfc8032.json') as {
  readonly vectors: readonly {
    readonly name: string;
    readonly seed: string;
    readonly publicKey: string;
    readonly message: string;
    readonly signature: string;
  }[];
};

/** Version 1 of the protocol: values, their canonical bytes as hex, and hashes over them. */
export const protocolVectors = read('protocol-v1.json') as {
  readonly [Name in 'roundParams' | 'update' | 'envelope' | 'versionRecord']: {
    readonly value: never;
    readonly bytes: string;
  };
} & {
  readonly roundParams: { readonly roundHash: string };
  readonly update: { readonly bodyHash: string };
  readonly versionRecord: { readonly resultHash: string };
  readonly layout: { readonly tensors: never; readonly layoutHash: string };
  /** One tensor of every class, with every field that a class may have. */
  readonly fullLayout: { readonly tensors: never; readonly layoutHash: string };
  readonly model: { readonly baseDigest: never; readonly adapter: string; readonly modelHash: string };
  readonly chunks: {
    readonly content: string;
    readonly chunkSize: number;
    readonly chunkDigests: readonly string[];
    readonly root: string;
  };
  readonly identity: { readonly seed: string; readonly publicKey: string; readonly clientId: string };
  readonly signatureInput: { readonly type: string; readonly body: string; readonly input: string };
  readonly transcript: { readonly roundHash: never; readonly updates: never; readonly transcriptHash: string };
  readonly receipt: Readonly<Record<'roundHash' | 'clientId' | 'bodyHash' | 'receipt', never>>;
};
