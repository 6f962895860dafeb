/**
 * How many updates a coordinator takes, and how much memory that needs: real rounds with 100 and with 1,000 clients, each in a process of its
 * own that may use one core. Taken means verified (signature, chunk hashes, finite values), durable (blob and record), and accumulated into
 * a published version. The time runs from the first announcement to the published version.
 */
import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Benchmark } from './benchmark.ts';
import { integerFlag, machineName } from './benchmark.ts';
import type { LoadReport } from './coordinator-load.ts';

const program = fileURLToPath(new URL('coordinator-load.ts', import.meta.url));
/** Bytes of one update by default. */
const updateBytes = 1_000_000;

/** Whether a process can be bound to one core here. */
function canPin(): boolean {
  try {
    execFileSync('taskset', ['-c', '0', process.execPath, '--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function runLoad(clientCount: number, dim: number, isPinned: boolean): Promise<LoadReport> {
  // A small young generation: it would grow with the garbage of a thousand handshakes, whatever the coordinator holds on to.
  const command = [process.execPath, '--max-semi-space-size=1', program, String(clientCount), String(dim)];
  const [file, ...words] = isPinned ? ['taskset', '-c', '0', ...command] : command;
  const { stdout } = await promisify(execFile)(file!, words, { maxBuffer: 2 ** 20 });
  return JSON.parse(stdout) as LoadReport;
}

/**
 * `--few 100 --many 1000 --bytes 1000000`. The peaks are named `peakMegabytes100` and `peakMegabytes1000` after these defaults;
 * `updatesPerSecond` is the slower of the two loads.
 */
export const bench: Benchmark = async (flags, progress) => {
  const sizes = [integerFlag(flags, 'few', 100), integerFlag(flags, 'many', 1000)];
  const bytes = integerFlag(flags, 'bytes', updateBytes);
  if (bytes % 4 !== 0) throw new RangeError(`--bytes must be a multiple of 4, found ${bytes}`);
  const isPinned = canPin();
  const results: Record<string, number | boolean> = { updatesPerSecond: Number.POSITIVE_INFINITY };
  for (const clientCount of sizes) {
    progress(`${clientCount} clients, ${bytes} bytes each`);
    const load = await runLoad(clientCount, bytes / 4, isPinned);
    results.updatesPerSecond = Math.min(Number(results.updatesPerSecond), load.updatesPerSecond);
    results[`updatesPerSecond${clientCount}`] = load.updatesPerSecond;
    results[`updatesPerCpuSecond${clientCount}`] = load.updatesPerCpuSecond;
    results[`peakMegabytes${clientCount}`] = load.peakMegabytes;
  }
  return {
    name: 'coordinator',
    machine: machineName(),
    backend: null,
    threads: 1,
    results: { ...results, updateBytes: bytes, oneCore: isPinned },
  };
};
