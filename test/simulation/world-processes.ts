/** Many worlds in several processes, and what all of them saw together. */
import { execFile } from 'node:child_process';
import process from 'node:process';
import { promisify } from 'node:util';
import { addCoverage, type Coverage, createCoverage, type encodeCoverage } from '../../simulations/world/coverage.ts';

const run = promisify(execFile);
const main = new URL('../../simulations/world/main.ts', import.meta.url).pathname;

/** Runs `count` worlds from the seed `first` on; `processCount` divides them. @throws what a process says of the first world that breaks a rule. */
export async function runWorlds(first: number, count: number, processCount: number): Promise<Coverage> {
  const share = count / processCount;
  const outputs = await Promise.all(
    Array.from({ length: processCount }, async (_, index) => {
      const options = ['--seed', `${first + index * share}`, '--count', `${share}`];
      const { stdout } = await run(process.execPath, [main, ...options], { maxBuffer: 2 ** 24 });
      return JSON.parse(stdout) as ReturnType<typeof encodeCoverage>;
    }),
  );
  const coverage = createCoverage();
  for (const output of outputs) addCoverage(coverage, output);
  return coverage;
}
