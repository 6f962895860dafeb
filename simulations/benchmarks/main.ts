/** `npm run bench -- NAME [flags] [--json]`: runs one benchmark; standard output holds its report and nothing else. */
import type { Benchmark, BenchmarkFlags } from './benchmark.ts';

const benchmarks: Readonly<Record<string, () => Promise<{ readonly bench: Benchmark }>>> = {
  step: () => import('./step.ts'),
  coordinator: () => import('./coordinator.ts'),
  round: () => import('./round.ts'),
};

function parseFlags(words: readonly string[]): BenchmarkFlags {
  const flags: Record<string, string | true> = {};
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (!word.startsWith('--'))
      throw new RangeError(`expected a flag such as --backend, found ${JSON.stringify(word)}`);
    const next = words[index + 1];
    if (next === undefined || next.startsWith('--')) flags[word.slice(2)] = true;
    else {
      flags[word.slice(2)] = next;
      index++;
    }
  }
  return flags;
}

const [name = '', ...words] = process.argv.slice(2);
const load = benchmarks[name];
if (load === undefined) {
  console.error(`Unknown benchmark ${JSON.stringify(name)}; there are: ${Object.keys(benchmarks).join(', ')}.`);
  process.exitCode = 2;
} else {
  const { json, ...flags } = parseFlags(words);
  const { bench } = await load();
  const report = await bench(flags, (line) => console.error(line));
  if (json) console.log(JSON.stringify(report));
  else {
    console.log(
      `${report.name} on ${report.machine}, back end ${report.backend ?? 'none'}, ${report.threads} thread(s)`,
    );
    for (const [key, value] of Object.entries(report.results)) console.log(`  ${key.padEnd(28)} ${value}`);
  }
}
