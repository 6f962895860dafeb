/** What a benchmark is, and the facts about the machine that every report carries. */
import { cpus, totalmem } from 'node:os';

/** Flags of the command line as text; a flag without a value is `true`. */
export type BenchmarkFlags = Readonly<Record<string, string | true>>;

/** What `npm run bench -- NAME --json` prints: figures that compare two things within one run, never a verdict. */
export interface BenchmarkReport {
  readonly name: string;
  readonly machine: string;
  readonly backend: string | null;
  readonly threads: number;
  readonly results: Readonly<Record<string, number | string | boolean | null>>;
}

/** A benchmark; `progress` takes lines for people, on standard error. */
export type Benchmark = (flags: BenchmarkFlags, progress: (line: string) => void) => Promise<BenchmarkReport>;

/** A whole number from a flag. @throws RangeError when it is not a positive integer. */
export function integerFlag(flags: BenchmarkFlags, name: string, fallback: number): number {
  const text = flags[name];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text === true || !Number.isInteger(value) || value < 1) {
    throw new RangeError(`--${name} must be a positive whole number, found ${JSON.stringify(text)}`);
  }
  return value;
}

/** The middle of some figures. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Processor, cores, memory and Node version in one line. */
export function machineName(): string {
  const processors = cpus();
  return `${processors[0]?.model.trim() ?? 'unknown processor'}, ${processors.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}
