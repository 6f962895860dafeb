/** The parts of choosing a back end that need Node: where the WebAssembly files are, and the native packages, which are optional. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { errorMessage } from '../core/errors.ts';

const require = createRequire(import.meta.url);

/** Folder of the WebAssembly binaries, with its separator at the end as the back end wants it. */
export function wasmFolder(): string {
  return `${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`;
}

/** Threads that the native packages use: they take every processor and have no setting of their own. */
export function processorCount(): number {
  return availableParallelism();
}

/**
 * Loads `@tensorflow/tfjs-node-gpu` or `@tensorflow/tfjs-node`, which registers its back end.
 * @throws Error when the package or its native library is not installed.
 */
export async function loadNativePackage(packageName: string): Promise<void> {
  restoreRemovedUtilities();
  try {
    await import(packageName);
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ERR_MODULE_NOT_FOUND';
    const reason = isMissing ? 'not installed' : `does not load: ${errorMessage(cause).split('\n')[0]}`;
    throw new Error(`${packageName} ${isMissing ? 'is ' : ''}${reason}`, { cause });
  }
}

/** The packages call two functions that Node 23 removed. They are put back on the module object that CommonJS code sees. */
function restoreRemovedUtilities(): void {
  const utilities = require('node:util') as Record<string, unknown>;
  utilities.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  utilities.isArray ??= Array.isArray;
}
