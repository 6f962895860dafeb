/**
 * Writing past the system's cache, where a system and a disk can: what nobody reads back from there need not be copied into it, and other files
 * that are flushed meanwhile need not wait for it. The disk takes whole blocks from memory that begins with one.
 */
import type { FileHandle } from 'node:fs/promises';
import { constants, open } from 'node:fs/promises';
import { errorMessage, StoreError } from '../../shared/core/errors.ts';

/** Bytes of a block: a multiple of that of every usual disk. */
const blockBytes = 4096;
/** Bytes of a page of WebAssembly memory. */
const pageBytes = 65_536;

/** Absent where the system has no such writes. */
const flag: number | undefined = constants.O_DIRECT;

/** `size` bytes that begin with a block; the system gives them out when they are touched. Null where there are none. */
export function alignedMemory(size: number): ArrayBuffer | null {
  const pages = Math.ceil(size / pageBytes);
  try {
    // The one kind of memory that the language places at the beginning of a page.
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  } catch {
    return null;
  }
}

/**
 * Makes the file at `path` of these parts one after the other, which lie in {@link alignedMemory} with room for a whole block behind the last; all
 * but the last are whole blocks. The open file, not flushed yet; null where the disk takes no such writes: what is at `path` then means nothing, and
 * whoever writes there begins with an empty file.
 * @throws StoreError when the disk does not take all.
 */
export async function writeDirectly(path: string, parts: readonly Uint8Array[]): Promise<FileHandle | null> {
  const last = parts.at(-1);
  if (flag === undefined || last === undefined) return null;
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const lastSize = Math.ceil(last.length / blockBytes) * blockBytes;
  const whole = new Uint8Array(last.buffer, last.byteOffset, lastSize);
  whole.fill(0, last.length);
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | flag, 0o600);
  } catch (thrown) {
    if (isUnsupported(thrown)) return null;
    throw thrown;
  }
  try {
    const { bytesWritten } = await handle.writev([...parts.slice(0, -1), whole], 0);
    const expected = size - last.length + lastSize;
    if (bytesWritten !== expected)
      throw new StoreError(
        'blob-failed',
        `only ${bytesWritten} of ${expected} bytes were written; check the disk's space`,
      );
    await handle.truncate(size);
    return handle;
  } catch (thrown) {
    await handle.close();
    if (isUnsupported(thrown)) return null;
    throw thrown;
  }
}

/** Whether a system says that it does not do this here. */
function isUnsupported(thrown: unknown): boolean {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : errorMessage(thrown);
  return code === 'EINVAL' || code === 'ENOTSUP' || code === 'EOPNOTSUPP';
}
