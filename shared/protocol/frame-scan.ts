/**
 * Walks a MessagePack frame without building anything, and says what in it is no part of our messages. Works in one pass over the bytes;
 * recursion is bounded by `messageDepthMax`.
 */
import { messageDepthMax } from '../core/limits.ts';

/** Where the walk stands; `fault` ends it. */
interface Walk {
  readonly frame: Uint8Array;
  readonly view: DataView;
  offset: number;
  fault: string | null;
}

/** Why a frame is refused, or null when it holds exactly one value of our kinds. */
export function findFrameFault(frame: Uint8Array): string | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const walk: Walk = { frame, view, offset: 0, fault: null };
  scanValue(walk, 0);
  if (walk.fault === null && walk.offset !== frame.length)
    fail(walk, `${frame.length - walk.offset} bytes after the end`);
  return walk.fault;
}

function fail(walk: Walk, fault: string): void {
  walk.fault ??= `${fault} at byte ${walk.offset}`;
}

/** Moves on by `count` bytes; false when they are not there. */
function skip(walk: Walk, count: number): boolean {
  if (walk.fault === null && count > walk.frame.length - walk.offset)
    fail(walk, `${count} bytes expected, the frame ends`);
  if (walk.fault !== null) return false;
  walk.offset += count;
  return true;
}

/** Reads an unsigned big-endian length of 1, 2 or 4 bytes. */
function readLength(walk: Walk, byteCount: number): number {
  const start = walk.offset;
  if (!skip(walk, byteCount)) return 0;
  if (byteCount === 1) return walk.view.getUint8(start);
  return byteCount === 2 ? walk.view.getUint16(start) : walk.view.getUint32(start);
}

function scanValue(walk: Walk, depth: number): void {
  if (depth > messageDepthMax) fail(walk, `nested deeper than ${messageDepthMax}`);
  const start = walk.offset;
  if (!skip(walk, 1)) return;
  const tag = walk.frame[start]!;
  if (tag <= 0x7f || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) return;
  if (tag <= 0x8f) scanMap(walk, tag & 0x0f, depth);
  else if (tag <= 0x9f) scanArray(walk, tag & 0x0f, depth);
  else if (tag <= 0xbf) skip(walk, tag & 0x1f);
  else scanLongValue(walk, tag, depth);
}

/** A value whose tag is followed by its length or by a number. */
function scanLongValue(walk: Walk, tag: number, depth: number): void {
  switch (tag) {
    case 0xc4: // bin 8, 16, 32
    case 0xc5:
    case 0xc6:
      skip(walk, readLength(walk, 1 << (tag - 0xc4)));
      break;
    case 0xca: // float 32, 64
    case 0xcb:
      skip(walk, tag === 0xca ? 4 : 8);
      break;
    case 0xcc: // uint 8 to 64
    case 0xcd:
    case 0xce:
    case 0xcf:
      skip(walk, 1 << (tag - 0xcc));
      break;
    case 0xd0: // int 8 to 64
    case 0xd1:
    case 0xd2:
    case 0xd3:
      skip(walk, 1 << (tag - 0xd0));
      break;
    case 0xd9: // str 8, 16, 32
    case 0xda:
    case 0xdb:
      skip(walk, readLength(walk, 1 << (tag - 0xd9)));
      break;
    case 0xdc: // array 16, 32
    case 0xdd:
      scanArray(walk, readLength(walk, tag === 0xdc ? 2 : 4), depth);
      break;
    case 0xde: // map 16, 32
    case 0xdf:
      scanMap(walk, readLength(walk, tag === 0xde ? 2 : 4), depth);
      break;
    default:
      // 0xc1 is never used; the rest are extensions.
      fail(walk, `type 0x${tag.toString(16)} is no part of our messages`);
  }
}

function scanArray(walk: Walk, count: number, depth: number): void {
  for (let index = 0; index < count && walk.fault === null; index++) scanValue(walk, depth + 1);
}

/** Keys are text, distinct, and not `__proto__`, which decoders treat differently. */
function scanMap(walk: Walk, count: number, depth: number): void {
  const keys = new Set<string>();
  for (let index = 0; index < count && walk.fault === null; index++) {
    const key = readKey(walk);
    if (walk.fault !== null) return;
    if (keys.has(key) || key === '__proto__') fail(walk, 'a repeated or forbidden key');
    keys.add(key);
    scanValue(walk, depth + 1);
  }
}

function readKey(walk: Walk): string {
  const start = walk.offset;
  if (!skip(walk, 1)) return '';
  const tag = walk.frame[start]!;
  const isText = (tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb);
  if (!isText) {
    fail(walk, 'a key that is no text');
    return '';
  }
  const length = tag <= 0xbf ? tag & 0x1f : readLength(walk, 1 << (tag - 0xd9));
  const from = walk.offset;
  if (!skip(walk, length)) return '';
  return new TextDecoder().decode(walk.frame.subarray(from, walk.offset));
}
