/**
 * `npm run bench -- NAME [flags] [--json]`: runs one benchmark; standard output holds its report and nothing else, progress goes to standard
 * error. Exit codes as for `tributary`: 1 failed, 2 wrong use.
 */
import { errorMessage, UsageError } from '../../shared/core/errors.ts';
import type { Benchmark, BenchmarkFlags, BenchmarkReport } from './benchmark.ts';

/** A benchmark as the command line knows it: what it measures, its flags, and where it is. */
interface Entry {
  readonly summary: string;
  readonly flags: Readonly<Record<string, string>>;
  readonly load: () => Promise<{ readonly bench: Benchmark }>;
}

const benchmarks: Readonly<Record<string, Entry>> = {
  step: {
    summary: 'one training step, beside the own gradients of the tensor library',
    flags: {
      backend: 'auto, node-gpu, webgpu, node, native, wasm or cpu',
      threads: 'threads of the back end',
      layers: 'layers of the base',
      width: 'width of the base',
      heads: 'attention heads',
      'feed-forward': 'inner width of the feed-forward part',
      sequence: 'tokens of a row',
      batch: 'rows of a step',
      rank: 'rank of the adapter',
      turns: 'turns of three steps of each that count, default 6',
      against: 'pytorch: the same step beside PyTorch, where Python has it',
      python: 'the interpreter that has it, default the first of python3 and /usr/bin/python3',
    },
    load: () => import('./step.ts'),
  },
  epoch: {
    summary:
      'a pass with adapters in the upper third, with states below kept and without, and in PyTorch with them kept',
    flags: {
      backend: 'auto, node-gpu, webgpu, node, native, wasm or cpu',
      threads: 'threads of the back end',
      layers: 'layers of the base',
      width: 'width of the base',
      heads: 'attention heads',
      'feed-forward': 'inner width of the feed-forward part',
      sequence: 'tokens of a row',
      batch: 'rows of a step',
      rank: 'rank of the adapter',
      texts: 'texts of a pass, default 128',
      turns: 'passes of each that count, in turns, default 3',
      python: 'the interpreter that has PyTorch, default the first of python3 and /usr/bin/python3',
    },
    load: () => import('./epoch.ts'),
  },
  adapters: {
    summary: 'one training step of every adapter method, relative to that of the frozen base and to their arithmetic',
    flags: {
      backend: 'auto, node-gpu, webgpu, node, native, wasm or cpu',
      threads: 'threads of the back end',
      layers: 'layers of the base',
      width: 'width of the base',
      heads: 'attention heads',
      'feed-forward': 'inner width of the feed-forward part',
      sequence: 'tokens of a row',
      batch: 'rows of a step',
      rank: 'rank of the adapters',
      steps: 'steps that are timed in each of two turns, default 5',
      only: 'methods to measure, separated by commas',
    },
    load: () => import('./adapters.ts'),
  },
  'secure-aggregation': {
    summary: 'what masks cost a client and the coordinator, beside a plain sum; whole rounds over sockets',
    flags: {
      clients: 'clients of a round, default 10',
      dim: 'values of an update, default 100000',
      dropouts: 'clients that vanish after they dealt shares, default 0',
    },
    load: () => import('./secure-aggregation.ts'),
  },
  load: {
    summary: 'a checkpoint from disk to its first training steps, beside reading its files, and its memory',
    flags: {
      megabytes: 'size of the checkpoint, default 500',
      shards: 'files that hold it, default 1',
      type: 'F32, F16 or BF16, default F32',
      backend: 'node-gpu, node, native, wasm or cpu, default wasm',
      'frozen-weights': 'how the base is kept: auto, file, float32, float16 or int8, default auto',
      turns: 'processes that read and that load, in turns, default 3',
    },
    load: () => import('./load.ts'),
  },
  coordinator: {
    summary: 'updates that a coordinator takes on one core, and its memory',
    flags: {
      few: 'clients of the small load, default 100',
      many: 'clients of the large load, default 1000',
      bytes: 'bytes of an update, default 1000000',
    },
    load: () => import('./coordinator.ts'),
  },
  clients: {
    summary: 'simulated clients on one base, trained together and one by one: examples per second',
    flags: {
      backend: 'auto, or the name of a back end',
      threads: 'threads of the back end',
      layers: 'layers of the base',
      width: 'width of the base',
      heads: 'attention heads',
      'feed-forward': 'inner width of the feed-forward part',
      sequence: 'tokens of a row',
      batch: 'rows of a step of one client, default 4',
      rank: 'rank of the adapter',
      clients: 'clients, default 16',
      steps: 'steps of a training, default 6',
      turns: 'turns of both, default 3',
      adapter: 'lora or bottleneck, default lora',
    },
    load: () => import('./clients.ts'),
  },
  heartbeat: {
    summary:
      'how long the thread of the socket keeps events waiting while the site trains, with the learner in a thread and without',
    flags: {
      backend: 'auto, or the name of a back end',
      threads: 'threads of the back end',
      layers: 'layers of the base',
      width: 'width of the base',
      heads: 'attention heads',
      'feed-forward': 'inner width of the feed-forward part',
      sequence: 'tokens of a row',
      batch: 'rows of a step',
      rank: 'rank of the adapter',
      steps: 'steps that are looked at, default 10',
    },
    load: () => import('./heartbeat.ts'),
  },
  workers: {
    summary: 'memory of threads that have one base ready, over the same memory and each with its own weights',
    flags: {
      backend: 'name of a back end, default native',
      workers: 'threads, at least 2, default 4',
      layers: 'layers of the base, default 12',
      width: 'width of the base, default 768',
      'feed-forward': 'inner width of the feed-forward part, default 3072',
    },
    load: () => import('./workers.ts'),
  },
  serve: {
    summary: 'requests per second over HTTP for 1, 8 and 64 adapters on one base: many clients at once, and one by one',
    flags: {
      backend: 'auto, or the name of a back end, default native',
      threads: 'threads of the back end',
      rank: 'rank of the adapters, default 8',
      clients: 'clients that ask at the same time, default 32',
      requests: 'requests of a measurement, default 256',
      turns: 'turns of both, default 3',
    },
    load: () => import('./serve.ts'),
  },
  round: {
    summary: 'a whole round without training, beside the same bytes over bare socket.io',
    flags: {
      clients: 'clients, each a process, default 10',
      dim: 'values of an adapter, default 1000000',
      turns: 'turns of six rounds and six bare exchanges, default 4',
    },
    load: () => import('./round.ts'),
  },
};

function usage(): string {
  const lines = ['npm run bench -- NAME [flags] [--json]', ''];
  for (const [name, { summary, flags }] of Object.entries(benchmarks)) {
    lines.push(`${name}: ${summary}`);
    for (const [flag, meaning] of Object.entries(flags)) lines.push(`  --${flag.padEnd(14)} ${meaning}`);
  }
  return lines.join('\n');
}

function parseFlags(words: readonly string[], known: readonly string[]): BenchmarkFlags {
  const flags: Record<string, string | true> = {};
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    const name = word.slice(2);
    if (!word.startsWith('--') || !known.includes(name)) {
      const allowed = known.map((flag) => `--${flag}`).join(', ');
      throw new UsageError('unknown-flag', `expected one of ${allowed}, found ${JSON.stringify(word)}`);
    }
    const next = words[index + 1];
    if (next === undefined || next.startsWith('--')) flags[name] = true;
    else {
      flags[name] = next;
      index++;
    }
  }
  return flags;
}

function textOf(report: BenchmarkReport): string {
  const { name, machine, backend, threads, results } = report;
  const lines = [`${name} on ${machine}, back end ${backend ?? 'none'}, ${threads} thread(s)`];
  for (const [key, value] of Object.entries(results)) {
    lines.push(`  ${key.padEnd(28)} ${typeof value === 'number' ? Number(value.toPrecision(5)) : value}`);
  }
  return lines.join('\n');
}

async function main(words: readonly string[]): Promise<void> {
  const [name = '', ...rest] = words;
  if (words.includes('--help')) {
    console.log(usage());
    return;
  }
  const entry = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined;
  if (entry === undefined) {
    const known = Object.keys(benchmarks).join(', ');
    throw new UsageError('unknown-benchmark', `expected one of ${known}, found ${JSON.stringify(name)}`);
  }
  const { json, ...flags } = parseFlags(rest, [...Object.keys(entry.flags), 'json']);
  if (json !== undefined && json !== true) {
    throw new UsageError('unknown-flag', `--json takes no value, found ${JSON.stringify(json)}`);
  }
  const { bench } = await entry.load();
  const report = await bench(flags, (line) => console.error(line));
  console.log(json ? JSON.stringify(report) : textOf(report));
}

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  const isWrongUse = thrown instanceof UsageError || thrown instanceof RangeError;
  console.error(isWrongUse ? `bench: ${errorMessage(thrown)}; see --help` : thrown);
  process.exitCode = isWrongUse ? 2 : 1;
}
