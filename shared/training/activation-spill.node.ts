/**
 * States of texts on disk: a file that only this user may read, in the system's folder for temporary files, whose name is gone as soon as it is open
 * where the system allows that, and when it is closed elsewhere. States of private texts are as private as the texts.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../core/assert.ts';
import type { ActivationSpill } from './activation-cache.ts';

/** Opens an empty file for at most `bytesMax`. @throws the system's error when there is no such file to be made or the disk is full. */
export function openActivationSpill(bytesMax: number): ActivationSpill {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-states-'));
  const file = openSync(join(folder, 'states'), 'wx+', 0o600);
  let isGone = tryToRemove(folder);
  let size = 0;
  return {
    write: (bytes) => {
      if (size + bytes.length > bytesMax) return null;
      const place = size;
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, place + done);
      size += bytes.length;
      return place;
    },
    read: (place, bytes) => {
      assert(place + bytes.length <= size, `bytes from ${place} on were never written`);
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(file, bytes, done, bytes.length - done, place + done);
        assert(count > 0, 'the file of spilled states ends early');
        done += count;
      }
    },
    close: () => {
      closeSync(file);
      if (!isGone) isGone = tryToRemove(folder);
    },
  };
}

/** Windows keeps the name of a file that is open. */
function tryToRemove(folder: string): boolean {
  try {
    rmSync(folder, { recursive: true });
    return true;
  } catch {
    return false;
  }
}
