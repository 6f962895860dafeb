import { strict as assert } from 'node:assert';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { useBackend } from '../../../shared/compute/backend.ts';
import type { BaseModel } from '../../../shared/model/base-model.ts';
import { openBaseFiles, pretrainedFolder } from '../../../shared/model/load.node.ts';
import { networkFrom } from '../../../shared/model/load.ts';

/** Bytes of arrays that are still reachable. */
function bytesInArrays(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().arrayBuffers;
}

function load(): BaseModel {
  const { files, close } = openBaseFiles(pretrainedFolder());
  try {
    return networkFrom(files);
  } finally {
    close();
  }
}

describe('a base on WebAssembly', () => {
  it('[SHW-4] lies in the memory of its thread alone: nothing of the file stays in arrays that threads could share', async () => {
    await useBackend('wasm');
    // A first one, which stays: memory that was given back may be taken again unseen.
    const first = load();
    const before = bytesInArrays();
    const base = load();
    const bytes = 4 * base.description.parameterCount;
    const kept = bytesInArrays() - before;
    // Two pieces of half a megabyte may still be on their way to the collector.
    assert.ok(kept < bytes / 2, `${kept} of ${bytes} bytes are in arrays`);
    for (const one of [first, base]) one.dispose();
  });
});
