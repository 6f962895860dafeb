/** A process of `pytorch.py`: PyTorch on the problem of a folder, where Python has it. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What PyTorch runs on. */
export interface PytorchFacts {
  readonly version: string;
  /** Of a product of two matrices of 256 × 256, by processor time: below about 20 it has no fast library for products. */
  readonly gflops: number;
}

/** What it took for some steps or for a pass: one figure for each step, or one for the pass. */
export interface PytorchReport {
  readonly ms: number | readonly number[];
  readonly cpuMs: number | readonly number[];
  readonly losses: readonly number[];
  readonly peakBytes: number;
}

/** A process that takes one order at a time. */
export interface Pytorch {
  readonly facts: PytorchFacts;
  /** So many steps, each on all texts; or a pass over batches of texts, with the states below the lowest adapter kept. */
  run(order: { readonly steps: number } | { readonly epoch: readonly (readonly number[])[] }): Promise<PytorchReport>;
  leave(): Promise<void>;
}

/** Interpreters that are tried, in order: the first that has PyTorch is taken. */
const interpreters = ['python3', '/usr/bin/python3'];

/** Starts PyTorch on the problem in `folder`, or says why it cannot. @throws Error when it starts and then fails. */
export async function startPytorch(
  folder: string,
  { python, threads }: { readonly python: string | undefined; readonly threads: number },
): Promise<Pytorch | { readonly missing: string }> {
  const reasons: string[] = [];
  for (const interpreter of python === undefined ? interpreters : [python]) {
    const reason = await reasonAgainst(interpreter);
    if (reason === null) return start(interpreter, folder, threads);
    reasons.push(`${interpreter}: ${reason}`);
  }
  return { missing: reasons.join('; ') };
}

async function reasonAgainst(interpreter: string): Promise<string | null> {
  const child = spawn(interpreter, ['-c', 'import numpy, torch'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines: string[] = [];
  child.stderr.on('data', (data: Buffer) => lines.push(...data.toString().trim().split('\n')));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return code === 0 ? null : (lines.at(-1) ?? `ended with code ${code}`);
  } catch {
    return 'not there';
  }
}

async function start(interpreter: string, folder: string, threads: number): Promise<Pytorch> {
  const program = fileURLToPath(new URL('pytorch.py', import.meta.url));
  // The library behind its products has threads of its own.
  const env = { ...process.env, OPENBLAS_NUM_THREADS: String(threads), OMP_NUM_THREADS: String(threads) };
  const child: ChildProcessWithoutNullStreams = spawn(interpreter, [program, folder], { env });
  const errors: string[] = [];
  child.stderr.on('data', (data: Buffer) => errors.push(data.toString()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <Value>(): Promise<Value> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`PyTorch ended early: ${errors.join('').trim().split('\n').at(-1)}`);
    return JSON.parse(value) as Value;
  };
  const facts = await answer<PytorchFacts>();
  return {
    facts,
    run: (order) => {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      return answer<PytorchReport>();
    },
    leave: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'close');
    },
  };
}
