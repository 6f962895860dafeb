/** Messages of an attempt as text, for the store: replaying them gives the attempt's state again. Bytes are hex. */
import { assert } from '../../shared/core/assert.ts';
import { fromHex, toHex } from '../../shared/core/bytes.ts';
import { FormatError } from '../../shared/core/errors.ts';
import type { AttemptEvent } from './attempt-machine.ts';

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
    assert(typeof event === 'object' && event !== null && 'type' in event, 'only messages are kept');
    return event as AttemptEvent;
  } catch (cause) {
    throw new FormatError(
      'bad-attempt-message',
      'a kept message of a masked round is damaged; restore the state folder from a backup',
      { cause },
    );
  }
}
