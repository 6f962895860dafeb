/** Messages of an attempt as text, for the store: replaying them gives the attempt's state again. Bytes are hex. */
import * as z from 'zod/mini';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { FormatError } from '../../shared/core/errors.ts';
import type { AttemptEvent } from './attempt-machine.ts';

const bytes = z.instanceof(Uint8Array);
const said = { clientId: z.string().check(z.regex(/^[0-9a-f]{64}$/)), body: bytes, signature: bytes };
const reason = z.object({ code: z.string(), detail: z.string(), roundIndex: z.optional(z.int()) });
const eventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('advert'), ...said, publicKey: bytes, certificate: bytes }),
  z.strictObject({ type: z.enum(['draw', 'shares', 'masked', 'agree', 'unmask']), ...said }),
  z.strictObject({ type: z.literal('deadline') }),
  z.strictObject({ type: z.literal('abandon'), reason }),
]);

/** The text of a message. */
export function encodeAttemptMessage(event: AttemptEvent): string {
  return JSON.stringify(event, (_, value: unknown) => (value instanceof Uint8Array ? { hex: toHex(value) } : value));
}

/** The message of a text that this module made. @throws FormatError `bad-attempt-message` on any other. */
export function decodeAttemptMessage(text: string): AttemptEvent {
  try {
    const event: unknown = JSON.parse(text, (_, value: unknown) =>
      typeof value === 'object' && value !== null && 'hex' in value ? fromHex(String(value.hex)) : value,
    );
    return z.parse(eventSchema, event) as AttemptEvent;
  } catch (cause) {
    throw new FormatError(
      'bad-attempt-message',
      'a kept message of a masked round is damaged; restore the state folder from a backup',
      { cause },
    );
  }
}
