/**
 * Key streams: as many unpredictable bytes as wanted from one 32-byte key that is used once. Nonce zero, block counter from zero
 * (security specification, section 2.2).
 *
 * | suite | cipher | without an engine |
 * |---|---|---|
 * | 1 | ChaCha20 (RFC 8439) | `@noble/ciphers` |
 * | 2 | AES-256 in counter mode (SP 800-38A, section 6.5) | `@noble/ciphers`, slow: a round takes suite 2 only where all have native AES |
 *
 * A stream delivers into a buffer of its own that it uses again: masks of millions of words are never whole in memory.
 */
import { ctr } from '@noble/ciphers/aes.js';
import { chacha20 } from '@noble/ciphers/chacha.js';
import { assert } from '../core/assert.ts';
import { engineCrypto } from './engine.ts';

/** Suites with masks, as RoundParams names them. */
export type MaskedSuite = 1 | 2;

/** Bytes of a key. */
const streamKeyBytes = 32;
/** Bytes that a stream makes at a time; a multiple of the block of either cipher, small enough for a processor's cache. */
const partBytes = 65_536;

const zeros = new Uint8Array(partBytes);
/** Bytes of one block: 64 for ChaCha20, 16 for AES. */
const blockBytes = { 1: 64, 2: 16 } as const;

/** A stream of key bytes. One owner. */
export interface KeyStream {
  /**
   * The next `byteCount` bytes, from 1 to 65,536; lent until the next call. Calls before the last ask for multiples of 64 bytes, so that
   * every implementation begins the next one with a fresh block.
   */
  next(byteCount: number): Uint8Array;
  /** Forgets key and bytes; the stream is not used afterwards. */
  wipe(): void;
}

/** Bytes in which {@link createKeyStream} counts where a stream begins: a block of ChaCha20, four of AES. */
export const streamUnitBytes = 64;

/**
 * A stream of `suite` from `key` (32 bytes, copied where it is kept). It begins `firstUnit` times 64 bytes behind the first byte of the key's
 * stream. `engine` null forces the portable ciphers.
 */
export function createKeyStream(
  suite: MaskedSuite,
  key: Uint8Array,
  engine: typeof engineCrypto = engineCrypto,
  firstUnit = 0,
): KeyStream {
  assert(key.length === streamKeyBytes, `a stream key has ${streamKeyBytes} bytes`);
  const firstBlock = firstUnit * (streamUnitBytes / blockBytes[suite]);
  return engine === null ? portableStream(suite, key, firstBlock) : engineStream(suite, key, engine, firstBlock);
}

function engineStream(
  suite: MaskedSuite,
  key: Uint8Array,
  engine: NonNullable<typeof engineCrypto>,
  firstBlock: number,
): KeyStream {
  const cipher =
    suite === 1
      ? engine.createCipheriv('chacha20', key, nonceWith(firstBlock))
      : engine.createCipheriv('aes-256-ctr', key, counterOf(firstBlock));
  let last: Uint8Array = zeros.subarray(0, 0);
  return {
    next: (byteCount) => {
      assert(byteCount >= 1 && byteCount <= partBytes, `a part has 1 to ${partBytes} bytes, asked for ${byteCount}`);
      last = cipher.update(zeros.subarray(0, byteCount));
      return last;
    },
    wipe: () => {
      last.fill(0);
      cipher.final();
    },
  };
}

function portableStream(suite: MaskedSuite, key: Uint8Array, firstBlock: number): KeyStream {
  const own = Uint8Array.from(key);
  const buffer = new Uint8Array(partBytes);
  let block = firstBlock;
  return {
    next: (byteCount) => {
      assert(byteCount >= 1 && byteCount <= partBytes, `a part has 1 to ${partBytes} bytes, asked for ${byteCount}`);
      const part = buffer.subarray(0, byteCount);
      if (suite === 1) chacha20(own, new Uint8Array(12), zeros.subarray(0, byteCount), part, block);
      else ctr(own, counterOf(block)).encrypt(zeros.subarray(0, byteCount), part);
      block += Math.ceil(byteCount / blockBytes[suite]);
      return part;
    },
    wipe: () => {
      own.fill(0);
      buffer.fill(0);
    },
  };
}

/** The counter block of AES: 128 bits, big-endian. */
function counterOf(block: number): Uint8Array {
  const counter = new Uint8Array(16);
  new DataView(counter.buffer).setUint32(12, block);
  return counter;
}

/** What an engine takes for ChaCha20: the block counter, 32 bits, little-endian, and a nonce of zeros. */
function nonceWith(block: number): Uint8Array {
  const nonce = new Uint8Array(16);
  new DataView(nonce.buffer).setUint32(0, block, true);
  return nonce;
}
