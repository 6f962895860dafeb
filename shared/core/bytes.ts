/** Small helpers over `Uint8Array`; none of them copies unless its name says so. */
import { FederationError, FormatError } from './errors.ts';

const hexPairs = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'));

/** Lower-case hex of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexPairs[byte];
  return text;
}

/** Bytes of lower- or upper-case hex. @throws FormatError on an odd length or another character. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) {
    throw new FormatError('bad-hex', 'expected an even number of hex digits');
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let index = 0; index < bytes.length; index++)
    bytes[index] = Number.parseInt(text.slice(2 * index, 2 * index + 2), 16);
  return bytes;
}

const base64UrlDigits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Base64 with the URL-safe alphabet and without padding (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  let text = '';
  for (let start = 0; start < bytes.length; start += 3) {
    const triple = (bytes[start]! << 16) | ((bytes[start + 1] ?? 0) << 8) | (bytes[start + 2] ?? 0);
    const digitCount = Math.min(4, bytes.length - start + 1);
    for (let digit = 0; digit < digitCount; digit++) text += base64UrlDigits[(triple >> (18 - 6 * digit)) & 63];
  }
  return text;
}

/** Bytes of URL-safe base64 without padding. @throws FormatError unless `text` is what {@link toBase64Url} makes of them. */
export function fromBase64Url(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let bitCount = 0;
  let length = 0;
  for (const character of text) {
    const digit = base64UrlDigits.indexOf(character);
    if (digit < 0) throw new FormatError('bad-base64', 'expected letters, digits, "-" and "_" only');
    bits = ((bits << 6) | digit) & 0xffff;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[length++] = bits >> bitCount;
  }
  if (bitCount >= 6 || (bits & ((1 << bitCount) - 1)) !== 0) {
    throw new FormatError('bad-base64', 'the text is cut off or not in its shortest form');
  }
  return bytes;
}

/** One new array that holds all `parts` in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Whether both hold the same bytes; takes the same time wherever the first difference is. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let index = 0; index < left.length; index++) difference |= left[index]! ^ right[index]!;
  return difference === 0;
}

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The bytes behind a typed array, without a copy. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Whether the machine stores the low byte of a word first. */
const isLittleEndian = bytesOf(Uint16Array.of(1))[0] === 1;

/**
 * Refuses a machine that would read every word of a file or message the wrong way round. All on which TensorFlow.js has an engine pass.
 * @throws FederationError `big-endian-machine`.
 */
export function requireLittleEndian(): void {
  if (isLittleEndian) return;
  throw new FederationError(
    'big-endian-machine',
    'weights, adapters and masks are little-endian words, and this machine stores the high byte first; use a little-endian machine (x86-64, ARM64)',
  );
}

/**
 * Float32 values of little-endian `bytes`: a view when the bytes are aligned, else a copy.
 * @throws FormatError unless the length is a multiple of four; FederationError `big-endian-machine`.
 */
export function float32Of(bytes: Uint8Array): Float32Array {
  requireLittleEndian();
  if (bytes.length % 4 !== 0)
    throw new FormatError('bad-length', `expected a multiple of 4 bytes, found ${bytes.length}`);
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** Buffers below this size are not worth a system call, and often share their memory with others. */
const releasedBytesMin = 65_536;

/**
 * Gives the memory behind `bytes` back at once, where they own all of it; otherwise the engine does so some time. Megabytes a second of short-lived
 * buffers make an engine walk its whole heap again and again. `bytes` are empty afterwards: only their sole owner may do this.
 */
export function releaseBytes(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes;
  if (byteLength < releasedBytesMin || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return;
  // Transferring to an empty buffer is the language's way to free one. Engines without it wait for their collector.
  if (typeof buffer.transfer === 'function') buffer.transfer(0);
}
