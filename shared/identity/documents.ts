/** Documents of identity as files: JSON with the canonical bytes in hex, which count, and what they say in words, which is for people alone. */
import * as z from 'zod/mini';
import { fromHex, toHex } from '../core/bytes.ts';
import { FormatError } from '../core/errors.ts';
import { raw, type ValueOf } from '../protocol/canonical.ts';
import { structure, text } from './formats.ts';

/** Kinds of documents. */
const documentKinds = ['consortium', 'request', 'certificate', 'revocations', 'plan-approval', 'withdrawal'] as const;
/** Kind of a document. */
export type DocumentKind = (typeof documentKinds)[number];

/** Who wants to be a member: compared with the site by fingerprint before it is signed, so it need not be signed itself. */
export const requestFormat = structure({ publicKey: raw(32), organisation: text(200) });
/** A request. */
export type MemberRequest = ValueOf<typeof requestFormat>;

const documentSchema = z.looseObject({
  format: z.string(),
  bytes: z.string().check(z.regex(/^([0-9a-f]{2})+$/)),
});

/** The text of a document file. */
export function writeDocument(kind: DocumentKind, bytes: Uint8Array, about: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ format: `tributary-${kind}-1`, about, bytes: toHex(bytes) }, null, 1)}\n`;
}

/** The bytes of a document file and their kind. @throws FormatError `bad-document`. */
export function readDocument(
  found: string,
  source: string,
): { readonly kind: DocumentKind; readonly bytes: Uint8Array } {
  const bad = (detail: string) =>
    new FormatError(
      'bad-document',
      `${source} is no document of a consortium: ${detail}; give a file that tributary wrote`,
    );
  let value: unknown;
  try {
    value = JSON.parse(found);
  } catch {
    throw bad('it is no JSON');
  }
  const parsed = z.safeParse(documentSchema, value);
  if (!parsed.success) throw bad('it has no bytes');
  const { format, bytes } = parsed.data;
  const kind = documentKinds.find((name) => format === `tributary-${name}-1`);
  if (kind === undefined)
    throw bad(`its format is ${format}, expected one of tributary-{${documentKinds.join(',')}}-1`);
  return { kind, bytes: fromHex(bytes) };
}
