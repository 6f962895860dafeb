/**
 * Bytes of a text file as text: gzip is known by its first bytes, whatever the file is called; UTF-8 is checked, and a byte order mark and
 * Windows line ends are dropped. Everything streams.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errorMessage, FormatError, UsageError } from '../core/errors.ts';
import { recordCharactersMax } from '../core/limits.ts';

const newline = 0x0a;
const byteOrderMark = '\uFEFF';

/** One line without its end, or why it is none. */
export type TextLine = { readonly text: string } | { readonly fault: string };

/** The bytes of a file, decompressed when they are gzip. @throws UsageError `unreadable-file`; FormatError `bad-gzip`. */
async function* readBytes(path: string): AsyncGenerator<Uint8Array> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(path);
    const { buffer: head } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    const file = handle.createReadStream({ start: 0, highWaterMark: 1 << 18, autoClose: false });
    const isGzip = head[0] === 0x1f && head[1] === 0x8b;
    // A failure reaches whoever iterates the last stream; the callback has nothing to add.
    const bytes: Readable = isGzip ? pipeline(file, createGunzip(), () => {}) : file;
    for await (const chunk of bytes) yield chunk as Uint8Array;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code?.startsWith('Z_')) {
      throw new FormatError('bad-gzip', `${path}: the gzip stream is broken (${errorMessage(cause)})`, { cause });
    }
    throw new UsageError('unreadable-file', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
  } finally {
    await handle?.close();
  }
}

/** The text of a file in pieces. @throws as {@link readBytes}; FormatError `bad-encoding` with the line, when it is not UTF-8. */
export async function* readText(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for await (const chunk of readBytes(path)) {
    let text: string;
    try {
      text = decoder.decode(chunk, { stream: true });
    } catch (cause) {
      throw await badEncoding(path, cause);
    }
    yield text;
  }
  try {
    decoder.decode();
  } catch (cause) {
    throw await badEncoding(path, cause);
  }
}

/** Reads the file once more, line by line, to say where it is not UTF-8. */
async function badEncoding(path: string, cause: unknown): Promise<FormatError> {
  let line = 1;
  search: for await (const block of readLines(path, Number.POSITIVE_INFINITY)) {
    for (const found of block) {
      if ('fault' in found) break search;
      line++;
    }
  }
  const reason = 'expected text in UTF-8, found bytes that are not; save the file as UTF-8';
  const context = { file: path, line };
  return new FormatError('bad-encoding', `${path}, line ${line}: ${reason}`, { cause, context });
}

/**
 * The lines of a file in blocks, in order and without their ends. A line that is longer than `bytesMax`, or not UTF-8, is a fault of its own:
 * the lines after it are read.
 */
export async function* readLines(path: string, bytesMax = recordCharactersMax): AsyncGenerator<TextLine[]> {
  let isFirst = true;
  let rest: Uint8Array[] = [];
  let restLength = 0;
  let isTooLong = false;
  const finish = (bytes: Uint8Array): TextLine[] => {
    const lines = linesOf(bytes);
    if (isTooLong) lines[0] = { fault: `the line is longer than ${bytesMax} characters` };
    const [first] = lines;
    if (isFirst && first !== undefined && 'text' in first && first.text.startsWith(byteOrderMark)) {
      lines[0] = { text: first.text.slice(1) };
    }
    isFirst = false;
    isTooLong = false;
    rest = [];
    restLength = 0;
    return lines;
  };
  const hold = (bytes: Uint8Array): void => {
    isTooLong ||= restLength + bytes.length > bytesMax;
    rest = isTooLong ? [] : [...rest, bytes];
    restLength = isTooLong ? 0 : restLength + bytes.length;
  };
  for await (const chunk of readBytes(path)) {
    const last = chunk.lastIndexOf(newline);
    if (last < 0) {
      hold(chunk);
      continue;
    }
    hold(chunk.subarray(0, chunk.indexOf(newline)));
    const head = isTooLong ? new Uint8Array(0) : Buffer.concat(rest);
    yield finish(Buffer.concat([head, chunk.subarray(chunk.indexOf(newline), last)]));
    if (last + 1 < chunk.length) hold(chunk.subarray(last + 1));
  }
  if (restLength > 0 || isTooLong) yield finish(Buffer.concat(rest));
}

/** Decodes a block at once, and line by line only when that fails. */
function linesOf(bytes: Uint8Array): TextLine[] {
  const whole = decodeOrNull(bytes);
  if (whole !== null) return whole.split('\n').map((text) => ({ text: withoutReturn(text) }));
  const lines: TextLine[] = [];
  for (let start = 0; start <= bytes.length; ) {
    const found = bytes.indexOf(newline, start);
    const end = found < 0 ? bytes.length : found;
    const text = decodeOrNull(bytes.subarray(start, end));
    lines.push(
      text === null ? { fault: 'expected text in UTF-8, found bytes that are not' } : { text: withoutReturn(text) },
    );
    start = end + 1;
  }
  return lines;
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeOrNull(bytes: Uint8Array): string | null {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return null;
  }
}

function withoutReturn(text: string): string {
  return text.endsWith('\r') ? text.slice(0, -1) : text;
}
