/**
 * A process of the benchmark `load`: reads the weight files whole, or loads the base from its folder, once, and sends what it took. Words:
 * what to do, the folder, the back end, the names of the weight files.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, useBackend } from '../../shared/compute/backend.ts';
import { loadBase } from '../../shared/model/load.node.ts';

/** What such a process sends. */
export interface LoadReport {
  readonly type: 'report';
  readonly ms: number;
  /** By how much the largest resident size exceeds that of the idle process with its back end started, in bytes. */
  readonly peakBytes: number;
}

const [task, folder, backend, ...names] = process.argv.slice(2) as ['read' | 'load', string, BackendName, ...string[]];
await useBackend(backend);
globalThis.gc?.();
const idleBytes = process.memoryUsage.rss();
const startMs = performance.now();
const held: object[] = [];
if (task === 'load') held.push(await loadBase(folder));
else for (const name of names) held.push(await readFile(join(folder, name)));
const ms = performance.now() - startMs;
const peakBytes = Math.max(0, process.resourceUsage().maxRSS * 1024 - idleBytes);
process.send?.({ type: 'report', ms, peakBytes } satisfies LoadReport, () => process.disconnect());
