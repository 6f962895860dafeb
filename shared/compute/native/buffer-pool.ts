/**
 * Memory for results that is used again: a result of a few megabytes that is freshly allocated costs more than the product that fills it,
 * because the system hands it out page by page. Bounded: what is given back beyond the bound is left to the garbage collector.
 */

/** Buffers by size class. */
export interface BufferPool {
  /** A buffer of at least `bytes`, with leftovers inside. */
  take(bytes: number): ArrayBuffer;
  /** Gives back a buffer that came from `take` and that nobody reads any more. */
  give(buffer: ArrayBuffer): void;
  /** Whether a buffer belongs to the pool, in use or free. */
  owns(buffer: ArrayBufferLike): boolean;
  /** Hands a buffer over to whoever holds it: it never comes back. */
  release(buffer: ArrayBuffer): void;
  /** Bytes that lie ready. */
  readonly freeBytes: () => number;
  /** Drops what lies ready. */
  clear(): void;
}

/** An empty pool that keeps at most `freeBytesMax` ready. */
export function createBufferPool(freeBytesMax: number): BufferPool {
  const free = new Map<number, ArrayBuffer[]>();
  const owned = new WeakSet<ArrayBufferLike>();
  let freeBytes = 0;
  return {
    take: (bytes) => {
      const size = sizeClass(bytes);
      const ready = free.get(size)?.pop();
      if (ready !== undefined) {
        freeBytes -= size;
        return ready;
      }
      const buffer = new ArrayBuffer(size);
      owned.add(buffer);
      return buffer;
    },
    give: (buffer) => {
      const size = buffer.byteLength;
      if (freeBytes + size > freeBytesMax) {
        owned.delete(buffer);
        return;
      }
      const list = free.get(size);
      if (list === undefined) free.set(size, [buffer]);
      else list.push(buffer);
      freeBytes += size;
    },
    owns: (buffer) => owned.has(buffer),
    release: (buffer) => {
      owned.delete(buffer);
    },
    freeBytes: () => freeBytes,
    clear: () => {
      free.clear();
      freeBytes = 0;
    },
  };
}

/** The next of eight steps between two powers of two, so that at most an eighth is wasted and sequences of many lengths share buffers. */
function sizeClass(bytes: number): number {
  const step = Math.max(1024, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 3));
  return Math.ceil(bytes / step) * step;
}
